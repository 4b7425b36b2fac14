package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

// completing is how long a shell waits for the words that a server knows.
const completing = 2 * time.Second

// completeFirst has the shell complete the first argument of a command.
func completeFirst(cmd *cobra.Command, words func(*cobra.Command) []string) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words(cmd), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag has the shell complete the value of a flag.
func completeFlag(cmd *cobra.Command, flag string, words func(*cobra.Command) []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return words(cmd), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the command has no such flag, or has completed it already
	}
}

// words are what a server knows that an argument may be.
type words func(context.Context, *apiclient.Client) ([]string, error)

// completes has the shell complete the first argument of a command to what the
// server knows. A server that does not answer knows nothing.
func (r *remote) completes(cmd *cobra.Command, known words) *cobra.Command {
	completeFirst(cmd, func(cmd *cobra.Command) []string {
		c, err := r.client()
		if err != nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completing)
		defer cancel()
		found, err := known(ctx, c)
		if err != nil {
			return nil
		}
		return found
	})
	return cmd
}

// described is a word with what the shell shows behind it.
func described(word, description string) string { return word + "\t" + description }

// taskIDs are the ids of the newest tasks.
func taskIDs(ctx context.Context, c *apiclient.Client) ([]string, error) {
	return taskWords(c.ListTasks(ctx, apiclient.Filter{Limit: 50}))
}

// archivedIDs are the ids of the newest tasks in the archive.
func archivedIDs(ctx context.Context, c *apiclient.Client) ([]string, error) {
	return taskWords(c.ListArchived(ctx, apiclient.Filter{Limit: 50}))
}

func taskWords(page *apiclient.TaskPage, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	words := make([]string, len(page.Tasks))
	for i := range page.Tasks {
		t := &page.Tasks[i]
		words[i] = described(t.ID, templateOf(t)+", "+string(t.State))
	}
	return words, nil
}

// templateWords are the names of the registered templates.
func templateWords(ctx context.Context, c *apiclient.Client) ([]string, error) {
	list, err := c.ListTemplates(ctx)
	if err != nil {
		return nil, err
	}
	words := make([]string, len(list.Templates))
	for i, t := range list.Templates {
		words[i] = t.Namespace + "/" + t.Name + "@" + t.Version
	}
	return words, nil
}

func entryIDs(ctx context.Context, c *apiclient.Client) ([]string, error) {
	list, err := c.Investigations(ctx, 50)
	if err != nil {
		return nil, err
	}
	words := make([]string, len(list.Entries))
	for i := range list.Entries {
		e := &list.Entries[i]
		words[i] = described(e.ID, e.Namespace+"/"+e.Name+", "+e.Reason)
	}
	return words, nil
}

func scheduleWords(ctx context.Context, c *apiclient.Client) ([]string, error) {
	page, err := c.ListSchedules(ctx, "", 100)
	if err != nil {
		return nil, err
	}
	words := make([]string, len(page.Schedules))
	for i := range page.Schedules {
		words[i] = described(page.Schedules[i].Name, page.Schedules[i].Cron)
	}
	return words, nil
}

func limitNames(ctx context.Context, c *apiclient.Client) ([]string, error) {
	page, err := c.ListLimits(ctx, "")
	if err != nil {
		return nil, err
	}
	words := make([]string, len(page.Limits))
	for i := range page.Limits {
		words[i] = page.Limits[i].Name
	}
	return words, nil
}

func webhookIDs(ctx context.Context, c *apiclient.Client) ([]string, error) {
	list, err := c.ListWebhooks(ctx)
	if err != nil {
		return nil, err
	}
	words := make([]string, len(list.Webhooks))
	for i := range list.Webhooks {
		words[i] = described(list.Webhooks[i].ID, list.Webhooks[i].URL)
	}
	return words, nil
}

func workerIDs(ctx context.Context, c *apiclient.Client) ([]string, error) {
	page, err := c.ListWorkers(ctx, apiclient.WorkerFilter{Limit: 50})
	if err != nil {
		return nil, err
	}
	words := make([]string, len(page.Workers))
	for i := range page.Workers {
		w := &page.Workers[i]
		words[i] = described(w.ID, w.Role+" on "+w.Host+", "+w.State)
	}
	return words, nil
}
