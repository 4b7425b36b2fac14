package templates

import (
	"encoding/json"
	"errors"
	"fmt"

	tasker "github.com/tasker-systems/tasker-go"
)

// Define checks templates that are written in Go as Parse checks YAML, and
// reports every problem of all of them.
func Define(definitions []tasker.Template) ([]*Template, error) {
	defined := make([]*Template, 0, len(definitions))
	var problems []error
	for i := range definitions {
		d := &definitions[i]
		raw, err := json.Marshal(d)
		if err != nil {
			problems = append(problems, fmt.Errorf("template %s/%s: %w", d.Namespace, d.Name, err))
			continue
		}
		t, err := Parse(fmt.Sprintf("template %s/%s in Go", d.Namespace, d.Name), raw)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		defined = append(defined, t)
	}
	return defined, errors.Join(problems...)
}
