package privaterabbit

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// A NotFoundError says that no RabbitMQ is installed.
type NotFoundError struct {
	missing string
}

func (e *NotFoundError) Error() string {
	return "no " + e.missing + " found; install it with: sudo sh scripts/ensure.sh rabbitmq; or name RabbitMQ's folder in TASKER_RABBITMQ_HOME"
}

// programs are those of one installed RabbitMQ and of its Erlang.
type programs struct {
	home string // with sbin/rabbitmq-server
	epmd string
}

// find returns the RabbitMQ in the folder that $TASKER_RABBITMQ_HOME names, else
// the newest where packages put it.
func find() (programs, error) {
	homes := []string{os.Getenv("TASKER_RABBITMQ_HOME")}
	if homes[0] == "" {
		homes = nil
		for _, pattern := range []string{
			"/usr/lib/rabbitmq/lib/rabbitmq_server-*", "/opt/rabbitmq", "/opt/homebrew/opt/rabbitmq", "/usr/local/opt/rabbitmq",
		} {
			found, _ := filepath.Glob(pattern) // the patterns are well formed
			slices.Reverse(found)
			homes = append(homes, found...)
		}
	}
	i := slices.IndexFunc(homes, func(home string) bool {
		info, err := os.Stat(filepath.Join(home, "sbin", "rabbitmq-server"))
		return err == nil && info.Mode().IsRegular()
	})
	if i < 0 {
		return programs{}, &NotFoundError{"RabbitMQ"}
	}
	epmd, err := exec.LookPath("epmd")
	if err != nil {
		return programs{}, &NotFoundError{"Erlang's epmd"}
	}
	return programs{home: homes[i], epmd: epmd}, nil
}
