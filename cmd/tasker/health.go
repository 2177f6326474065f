package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthBytes is how much of an answer is read: a reason is one line.
const healthBytes = 4 << 10

func newHealthCommand(a *app) *cobra.Command {
	var address, output string
	var live bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "health", Short: "Ask a server whether it does its part, for healthchecks", Args: arguments(),
		Long: "Ask the server that was started with --metrics HOST:PORT whether it does its part: exit code 0 when it does, also when\n" +
			"other engines own all partitions, else 3 with the reason. It needs no other program, so a healthcheck of a container\n" +
			"can run it in an image that holds nothing else. `tasker status` says how the whole log is doing.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if _, port, err := net.SplitHostPort(address); err != nil || port == "" || port == "0" {
				return usageError("--metrics is %q: it is the HOST:PORT that the server was given", address)
			}
			if timeout <= 0 {
				return usageError("--timeout must be more than 0, not %s", timeout)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			path := "/healthz/ready"
			if live {
				path = "/healthz/live"
			}
			if err := askHealth(ctx, "http://"+address+path); err != nil {
				return err
			}
			return a.did(output, map[string]any{"healthy": true}, "ok")
		},
	}
	cmd.Flags().StringVar(&address, "metrics", "127.0.0.1:9464", "HOST:PORT that the server was given with --metrics")
	cmd.Flags().BoolVar(&live, "live", false, "ask only whether the process answers")
	cmd.Flags().DurationVar(&timeout, "timeout", 4*time.Second, "how long the answer may take")
	addOutput(cmd, &output)
	return cmd
}

// askHealth is nil for 200. It uses no proxy and follows nobody: the server is asked, not somebody else.
func askHealth(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usageError("--metrics: %w", err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("it does not answer in time")
		}
		return &failure{code: exitEngine, err: fmt.Errorf("the server cannot be asked: %w", err)}
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, healthBytes))
	switch {
	case err != nil:
		return &failure{code: exitEngine, err: fmt.Errorf("the server's answer cannot be read: %w", err)}
	case response.StatusCode == http.StatusOK:
		return nil
	case response.StatusCode == http.StatusServiceUnavailable:
		return &failure{code: exitEngine, err: fmt.Errorf("not healthy: %s", oneLine(strings.TrimSpace(string(text))))}
	}
	return &failure{code: exitEngine, err: fmt.Errorf("%s answers %s: that is no server of tasker", url, response.Status)}
}
