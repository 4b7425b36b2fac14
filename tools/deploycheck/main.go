// The deploycheck command reads the files of a folder as those would that deploy
// them: a Dockerfile as BuildKit does, Compose files as Compose does, and
// Kubernetes manifests into the API's own types, where an unknown field is an
// error. It prints what is wrong and exits with 1 if anything is.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: deploycheck FOLDER")
		os.Exit(2)
	}
	checked, err := check(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%d files are in order\n", checked)
}

// check looks at every file below dir that it knows how to read.
func check(dir string) (checked int, err error) {
	var problems []error
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		var look func(string, []byte) error
		switch name := d.Name(); {
		case strings.HasPrefix(name, "Dockerfile") && !strings.HasSuffix(name, ".dockerignore"):
			look = dockerfile
		case strings.HasPrefix(name, "docker-compose") || strings.HasPrefix(name, "compose"):
			look = compose
		case strings.Contains(path, "kubernetes") && strings.HasSuffix(name, ".yaml"):
			look = manifests
		default:
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := look(path, data); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", path, err))
		}
		checked++
		return nil
	})
	return checked, errors.Join(append(problems, err)...)
}

// dockerfile parses a Dockerfile and its instructions, with the checks of
// "docker build --check" as errors.
func dockerfile(_ string, data []byte) error {
	parsed, err := parser.Parse(strings.NewReader(string(data)))
	if err != nil {
		return err
	}
	var warnings []error
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		line := 0
		if len(at) > 0 {
			line = at[0].Start.Line
		}
		warnings = append(warnings, fmt.Errorf("line %d: %s: %s", line, rule, message))
	}})
	stages, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		return err
	}
	for i := range stages {
		user, health, runs := "", false, false
		for _, c := range stages[i].Commands {
			switch c := c.(type) {
			case *instructions.UserCommand:
				user = c.User
			case *instructions.HealthCheckCommand:
				health = true
			case *instructions.EntrypointCommand:
				runs = true
			}
		}
		if runs && (user == "" || strings.HasPrefix(user, "0") || user == "root") {
			warnings = append(warnings, fmt.Errorf("stage %s runs as root", stages[i].Name))
		}
		if runs && !health {
			warnings = append(warnings, fmt.Errorf("stage %s has no HEALTHCHECK", stages[i].Name))
		}
	}
	return errors.Join(warnings...)
}

// compose loads a Compose file, which holds it against the schema of the
// specification and resolves what it refers to.
func compose(path string, data []byte) error {
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  filepath.Dir(path),
		ConfigFiles: []types.ConfigFile{{Filename: path, Content: data}},
		Environment: types.Mapping{"POSTGRES_PASSWORD": "p", "RABBITMQ_PASSWORD": "p"},
	}, func(o *loader.Options) { o.SetProjectName("tasker", true); o.Profiles = []string{"*"} })
	if err != nil {
		return err
	}
	if len(project.Services) == 0 {
		return errors.New("there is no service")
	}
	return nil
}

// manifests decodes each document strictly.
func manifests(_ string, data []byte) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, policyv1.AddToScheme, autoscalingv2.AddToScheme, networkingv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var problems []error
	for i, document := range strings.Split(string(data), "\n---\n") {
		object, kind, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			problems = append(problems, fmt.Errorf("document %d: %w", i+1, err))
			continue
		}
		problems = append(problems, pods(kind.Kind, object)...)
	}
	return errors.Join(problems...)
}

// pods holds the pods of an object to what all of ours should have.
func pods(kind string, object runtime.Object) (problems []error) {
	var spec *corev1.PodSpec
	switch o := object.(type) {
	case *appsv1.Deployment:
		spec = &o.Spec.Template.Spec
		for k, v := range o.Spec.Selector.MatchLabels {
			if o.Spec.Template.Labels[k] != v {
				problems = append(problems, fmt.Errorf("%s %s selects pods that it does not make", kind, o.Name))
			}
		}
	case *batchv1.Job:
		spec = &o.Spec.Template.Spec
	default:
		return nil
	}
	volumes := map[string]bool{}
	for _, v := range spec.Volumes {
		volumes[v.Name] = true
	}
	for _, c := range append(spec.InitContainers, spec.Containers...) {
		say := func(what string) { problems = append(problems, fmt.Errorf("%s, container %s: %s", kind, c.Name, what)) }
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			say("it may gain privileges or write to its image")
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
			say("it has no request of processor or no limit of memory")
		}
		if kind == "Deployment" && (c.ReadinessProbe == nil || c.LivenessProbe == nil) {
			say("it lacks a probe")
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				say("it mounts " + m.Name + ", which the pod does not have")
			}
		}
	}
	if spec.SecurityContext == nil || spec.SecurityContext.RunAsNonRoot == nil || !*spec.SecurityContext.RunAsNonRoot {
		problems = append(problems, fmt.Errorf("%s: its pods may run as root", kind))
	}
	return problems
}
