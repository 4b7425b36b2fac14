package testdb

// TemplateName lets the tests name templates of other migrations.
var TemplateName = templateName
