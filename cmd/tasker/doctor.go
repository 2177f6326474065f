package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// grade is how one thing is doing.
type grade string

const (
	healthy grade = "ok"
	warns   grade = "warning" // it works, and somebody should know
	fails   grade = "failed"  // something does not work, or will not
)

// finding is what one look has found.
type finding struct {
	Check  string `json:"check"`
	Status grade  `json:"status"`
	Text   string `json:"text"`
	Do     string `json:"do,omitempty"` // what helps
}

// doctor looks at everything that an engine rests on, from the disk upwards, and goes on as far as it can.
type doctor struct {
	a        *app
	f        connectFlags
	findings []finding

	dir     natsserver.DirReport
	ours    bool // the data directory is this user's to open
	connect func(...nats.Option) (*nats.Conn, error)
	config  tasker.Config
	own     *natsserver.Server // started for a moment, because none runs on the data directory
	nats    *natslog.Inspection
	newest  time.Time // of all commits that were read
}

func newDoctorCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	var quick bool
	timeout := time.Minute
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look at disk, NATS, streams, log, clock and engines, and say what to fix", Args: arguments(),
		Long: "Look at everything that an engine rests on: the data directory and its disk, the NATS server, the streams and their settings,\n" +
			"the newest commits and snapshots, clocks, engines, subscribers, index. It changes nothing on a running server. Where none runs on\n" +
			"the data directory it starts one for a moment, without an engine. Exit code 0 when nothing has failed, else 1; warnings do not\n" +
			"count. docs/doctor.md says what each line means.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			d := &doctor{a: a, f: f}
			d.examine(ctx, quick)
			return d.report(output)
		},
	}
	f.add(cmd)
	addOutput(cmd, &output)
	cmd.Flags().BoolVar(&quick, "no-fsync", false, "do not measure how fast the disk is")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long it may take in all")
	return cmd
}

// examine looks at one thing after the other. What rests on something that has failed is left out.
func (d *doctor) examine(ctx context.Context, quick bool) {
	if d.f.url == "" && d.f.context == "" {
		if !d.directory() {
			return
		}
		d.space()
		if !quick {
			d.fsync(ctx)
		}
	}
	defer d.close()
	if !d.reach(ctx) || !d.server(ctx) {
		return
	}
	if !d.streams() {
		return
	}
	d.log(ctx)
	d.snapshots(ctx)
	d.clock(ctx)
	d.engines(ctx)
}

func (d *doctor) note(check string, status grade, do, format string, args ...any) {
	d.findings = append(d.findings, finding{Check: check, Status: status, Text: fmt.Sprintf(format, args...), Do: do})
}

func (d *doctor) ok(check, format string, args ...any) { d.note(check, healthy, "", format, args...) }

// close stops what was started for the examination.
func (d *doctor) close() {
	if d.nats != nil {
		d.nats.Close()
	}
	if d.own != nil {
		if err := (&host{server: d.own}).stopServer(); err != nil {
			d.note("nats", warns, "", "the server that was started for a moment did not stop well: %v", err)
		}
	}
}

// report prints the findings; an error ends the command with exit code 1.
func (d *doctor) report(output string) error {
	count := map[grade]int{}
	for _, f := range d.findings {
		count[f.Status]++
	}
	var bad error
	if count[fails] > 0 {
		bad = &failure{code: exitFailed, err: fmt.Errorf("%s failed", plural(count[fails], "check", "checks")), quiet: true}
	}
	if output == "json" {
		if err := printJSON(d.a.out, struct {
			OK     bool      `json:"ok"`
			Checks []finding `json:"checks"`
		}{bad == nil, d.findings}); err != nil {
			return err
		}
		return bad
	}
	paint := styleFor(d.a.out)
	for _, f := range d.findings {
		status := pad(string(f.Status), len(warns))
		switch f.Status {
		case healthy:
			status = paint.good(status)
		case warns:
			status = paint.warn(status)
		case fails:
			status = paint.bad(status)
		}
		d.a.printf("%s  %s  %s\n", status, pad(f.Check, 11), oneLine(f.Text))
		if f.Do != "" {
			d.a.printf("%s  %s  do: %s\n", strings.Repeat(" ", len(warns)), pad("", 11), f.Do)
		}
	}
	d.a.printf("\n%s: %d ok, %s, %d failed\n", plural(len(d.findings), "check", "checks"), count[healthy], plural(count[warns], "warning", "warnings"), count[fails])
	return bad
}

// size is a number of bytes as people read it.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", (n+1023)>>10)
}
