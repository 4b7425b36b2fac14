package postgres

// housekeepingStatements are those of dead letters, staleness and the archive.
func housekeepingStatements() map[string]string {
	return map[string]string{
		"archiveSQL":            archiveSQL,
		"archivedStepsSQL":      archivedStepsSQL,
		"archivedTasksSQL":      archivedTasksSQL,
		"askForJobSQL":          askForJobSQL,
		"cyclesSQL":             cyclesSQL,
		"dlqStatsSQL":           dlqStatsSQL,
		"endJobSQL":             endJobSQL,
		"enterSQL":              enterSQL,
		"examineSQL":            examineSQL,
		"findEntrySQL":          findEntrySQL,
		"findOldSQL":            findOldSQL,
		"findTaskEntrySQL":      findTaskEntrySQL,
		"giveUpStepsSQL":        giveUpStepsSQL,
		"giveUpTasksSQL":        giveUpTasksSQL,
		"investigationQueueSQL": investigationQueueSQL,
		"isArchivedSQL":         isArchivedSQL,
		"jobDueSQL":             jobDueSQL,
		"keepJobSQL":            keepJobSQL,
		"leasedSQL":             leasedSQL(testQueue),
		"listEntriesSQL":        listEntriesSQL,
		"listJobsSQL":           listJobsSQL,
		"notifyPayloadsSQL":     notifyPayloadsSQL,
		"overdueSQL":            overdueSQL,
		"resolveSQL":            resolveSQL,
		"restingSQL":            restingSQL,
		"takeJobSQL":            takeJobSQL,
	}
}
