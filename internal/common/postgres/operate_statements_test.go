package postgres

// operatorStatements are those of operators' actions, with what they leave behind.
func operatorStatements() map[string]string {
	return map[string]string{
		"cancelStepsSQL":   cancelStepsSQL,
		"endStepSQL":       endStepSQL,
		"endTasksSQL":      endTasksSQL,
		"findStepSQL":      findStepSQL,
		"holdStepsSQL":     holdStepsSQL,
		"listAttemptsSQL":  listAttemptsSQL,
		"listAuditSQL":     listAuditSQL,
		"lockStandingsSQL": lockStandingsSQL,
		"pauseTasksSQL":    pauseTasksSQL,
		"recordAuditSQL":   recordAuditSQL,
		"reopenTasksSQL":   reopenTasksSQL,
		"resetStepsSQL":    resetStepsSQL,
		"resumeTasksSQL":   resumeTasksSQL,
		"submitSQL":        submitSQL(testResults),
		"troubleSQL":       troubleSQL,
		"unholdStepsSQL":   unholdStepsSQL,

		"countSelectedSQL":   countSelectedSQL,
		"findOperationSQL":   findOperationSQL,
		"insertOperationSQL": insertOperationSQL,
		"listOperationsSQL":  listOperationsSQL,
		"listSelectedSQL":    listSelectedSQL,
		"lockOperationSQL":   lockOperationSQL,
		"nextOperationSQL":   nextOperationSQL,
		"saveOperationSQL":   saveOperationSQL,
	}
}
