package main

import (
	"runtime"
	"runtime/debug"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
)

// versions is what `tasker version --output json` prints.
type versions struct {
	Tasker     string `json:"tasker"`
	Commit     string `json:"commit,omitempty"`
	Go         string `json:"go"`
	NATSServer string `json:"nats_server"`
	Platform   string `json:"platform"`
}

func newVersionCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: arguments(),
		RunE: func(*cobra.Command, []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			v := versions{
				Tasker: tasker.Version(), Commit: revision(), Go: runtime.Version(), NATSServer: server.VERSION,
				Platform: runtime.GOOS + "/" + runtime.GOARCH,
			}
			if output == "json" {
				return printJSON(a.out, v)
			}
			commit := ""
			if v.Commit != "" {
				commit = ", commit " + v.Commit
			}
			a.printf("tasker %s%s (nats-server %s, %s, %s)\n", v.Tasker, commit, v.NATSServer, v.Go, v.Platform)
			return nil
		},
	}
	addOutput(cmd, &output)
	return cmd
}

// stampedCommit is set by the linker where the build does not know it, as in the Dockerfile.
var stampedCommit string

// revision is the commit that the binary was built from, "" when the build does not know.
func revision() string {
	if stampedCommit != "" {
		return stampedCommit[:min(12, len(stampedCommit))]
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + changed
}
