package postgres

// scheduleStatements are the statements about schedules.
func scheduleStatements() map[string]string {
	return map[string]string{
		"clockSQL":              clockSQL,
		"deleteScheduleSQL":     deleteScheduleSQL,
		"findScheduleSQL":       findScheduleSQL,
		"insertScheduleRunsSQL": insertScheduleRunsSQL,
		"insertScheduleSQL":     insertScheduleSQL,
		"listSchedulesSQL":      listSchedulesSQL,
		"lockDueSchedulesSQL":   lockDueSchedulesSQL,
		"lockOpenTasksSQL":      lockOpenTasksSQL,
		"lockScheduleSQL":       lockScheduleSQL,
		"moveSchedulesSQL":      moveSchedulesSQL,
		"nextScheduleSQL":       nextScheduleSQL,
		"scheduleRunsSQL":       scheduleRunsSQL,
		"trimScheduleRunsSQL":   trimScheduleRunsSQL,
		"updateScheduleSQL":     updateScheduleSQL,
	}
}
