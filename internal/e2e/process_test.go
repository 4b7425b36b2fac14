package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait, on the slowest machine that runs the tests.
const patience = time.Minute

// A child is a process that runs a program.
type child struct {
	t       testing.TB
	program program
	cmd     *exec.Cmd
	stdin   *os.File // ends with this process, and the child with it
	output  *output
	ended   chan struct{} // closed when the process has ended and nothing is left of it
	excused bool          // the test ended it, or waited for its end
}

// start runs a program and returns at once. Unless the test ends it, it must
// live until the end of the test, and then stop in good order.
func start(t testing.TB, p program, env []string, args ...string) *child {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	c := &child{t: t, program: p, stdin: ours, output: newOutput(), ended: make(chan struct{})}
	c.cmd = &exec.Cmd{
		Path: binary, Args: append([]string{string(p)}, args...),
		Env: append(inherited(), env...), Dir: t.TempDir(), Stdin: theirs, Stdout: c.output, Stderr: c.output,
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		_ = c.cmd.Wait() // its state says how it ended
	}()
	t.Cleanup(c.cleanUp)
	return c
}

// inherited is what processes have of the environment of the tests: nothing
// that configures Tasker.
func inherited() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func (c *child) cleanUp() {
	defer c.stdin.Close()
	if !c.excused {
		c.stop()
	}
	text := c.output.String()
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if strings.Contains(text, bad) {
			c.t.Errorf("%s: %s", c, bad)
		}
	}
	if c.t.Failed() {
		c.t.Logf("output of %s:\n%s", c, text)
	}
}

func (c *child) String() string { return fmt.Sprintf("%s (process %d)", c.program, c.pid()) }

func (c *child) pid() int { return c.cmd.Process.Pid }

// signal sends a signal; to a process that has ended it does nothing.
func (c *child) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Errorf("signal %s: %v", c, err)
	}
}

// kill ends the process as a crash would and returns when it has gone.
func (c *child) kill() {
	c.t.Helper()
	c.signal(syscall.SIGKILL)
	if code := c.wait(); code != -1 {
		c.t.Errorf("%s ended by itself, with code %d", c, code)
	}
}

// stop asks the process to end and fails the test unless it does, in good order.
func (c *child) stop() {
	c.t.Helper()
	select {
	case <-c.ended:
		c.t.Errorf("%s ended by itself", c)
	default:
		c.signal(syscall.SIGTERM)
	}
	if code := c.wait(); code != 0 {
		c.t.Errorf("%s ended with code %d", c, code)
	}
}

// wait returns the exit code once the process has ended, -1 for one that a
// signal killed.
func (c *child) wait() int {
	c.t.Helper()
	c.excused = true
	select {
	case <-c.ended:
	case <-time.After(patience):
		_ = c.cmd.Process.Kill() // else the test would leave it behind
		<-c.ended
		c.t.Errorf("%s did not end in time", c)
	}
	return c.cmd.ProcessState.ExitCode()
}

// find waits until the output has a match and returns its groups.
func (c *child) find(pattern string) []string {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	for {
		text, more := c.output.look()
		if found := re.FindStringSubmatch(text); found != nil {
			return found
		}
		select {
		case <-more:
		case <-c.ended:
			if found := re.FindStringSubmatch(c.output.String()); found != nil {
				return found
			}
			c.t.Fatalf("%s ended without a word that matches %q", c, pattern)
		case <-timeout:
			c.t.Fatalf("%s said nothing that matches %q", c, pattern)
		}
	}
}

// address waits until the role works and returns where its API is.
func (c *child) address(role string) string {
	c.t.Helper()
	return c.find(`msg=ready role=` + role + ` address=(\S+)`)[1]
}

// output is what a process says.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{} // closed by the next write
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.buf.Write(p)
}

// look returns what there is and a channel that is closed when there is more.
func (o *output) look() (text string, more <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String(), o.more
}

func (o *output) String() string {
	text, _ := o.look()
	return text
}
