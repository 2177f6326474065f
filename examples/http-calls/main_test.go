package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/examples/internal/readme"
	"github.com/tasker-go/tasker/infra/httphandler"
	"github.com/tasker-go/tasker/infra/loghandler"
	"github.com/tasker-go/tasker/infra/yamldef"
	"github.com/tasker-go/tasker/taskertest"
)

// address is where the service is in virtual time.
const address = "http://127.0.0.1:8089"

// pipes is a network in memory: virtual time can pass while requests are under way.
type pipes chan net.Conn

func (p pipes) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p pipes) Accept() (net.Conn, error) {
	if c, open := <-p; open {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8089} }

// neighbours runs the test with the service and the definition.
func neighbours(t *testing.T, secret string, test func(t *testing.T, e *taskertest.Engine, s *service)) {
	t.Helper()
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		network, s := make(pipes), newService(nil)
		server := &http.Server{Handler: s.handler()}
		served := make(chan error, 1)
		go func() { served <- server.Serve(network) }()
		calls := httphandler.New(httphandler.Options{Now: time.Now, Secret: secretOf(secret), Dial: network.Dial})
		defer func() {
			_ = calls.Close()
			_ = server.Close()
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}()
		d, err := yamldef.Load("delivery.yaml", definition)
		if err != nil {
			t.Fatal(err)
		}
		e.MustRegister(d)
		e.MustHandle("http", calls)
		e.MustHandle("log", loghandler.New(loghandler.Options{Logger: tasker.Logger}))
		test(t, e, s)
	})
}

func input(more ...string) map[string]string {
	in := map[string]string{"service": address, "order": "o-17", "customer": "ada"}
	for i := 0; i < len(more); i += 2 {
		in[more[i]] = more[i+1]
	}
	return in
}

func TestREADMEShowsWhatIsPrinted(t *testing.T) {
	neighbours(t, token, func(t *testing.T, e *taskertest.Engine, _ *service) {
		var out bytes.Buffer
		if err := story(context.Background(), &out, e.Engine, address); err != nil {
			t.Fatal(err)
		}
		readme.Shows(t, out.String())
	})
}

func TestEveryFaultHasItsOutcomeAndItsWait(t *testing.T) {
	neighbours(t, token, func(t *testing.T, e *taskertest.Engine, s *service) {
		began := time.Now()
		id := e.When("delivery", input()).
			ThenComplete(map[string]string{"message": "order o-17 travels as ship-1 and brings no points"}).ID()
		history, err := e.History(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		type execution struct {
			Step      string
			At, Took  time.Duration
			Code      string
			Permanent bool
		}
		var got []execution
		for _, x := range history.Executions {
			is := execution{Step: x.Step, At: x.StartedAt.Time().Sub(began), Took: x.Duration}
			if x.Error != nil {
				is.Code, is.Permanent = x.Error.Code, x.Error.Kind == domain.KindPermanent
			}
			got = append(got, is)
		}
		const ms = time.Millisecond
		if diff := cmp.Diff([]execution{
			{"reserve_stock", 0, 0, "HTTP_429", false},
			{"quote_carrier", 0, 0, "HTTP_503", false},
			{"look_up_points", 0, 0, "HTTP_404", true},
			{"quote_carrier", 200 * ms, 0, "", false},  // the backoff
			{"reserve_stock", 1000 * ms, 0, "", false}, // Retry-After: 1
			{"book_carrier", 1000 * ms, 500 * ms, "TRANSPORT", false},
			{"book_carrier", 1700 * ms, 0, "", false},
			{"confirm", 1700 * ms, 0, "", false},
		}, got); diff != "" {
			t.Errorf("executions (-want +got):\n%s", diff)
		}
		if len(s.shipment) != 1 || s.calls["/shipments"] != 2 {
			t.Errorf("%d calls made the shipments %v, want 2 calls and one shipment", s.calls["/shipments"], s.shipment)
		}
		if step := e.MustStep(id, "look_up_points"); step.State != domain.Error || step.Attempt != 1 {
			t.Errorf("points: %s after %d attempts", step.State, step.Attempt)
		}
	})
}

func TestTemplatesHaveDefaultsAndValuesStayInTheirPlace(t *testing.T) {
	for carrier, path := range map[string]string{"": "/carriers/standard/quote", "by bike/boat?": "/carriers/by bike/boat?/quote"} {
		neighbours(t, token, func(t *testing.T, e *taskertest.Engine, s *service) {
			in := input("order", "17 & 18")
			if carrier != "" {
				in["carrier"] = carrier
			}
			e.MustWait(e.MustSubmit("delivery", in))
			if s.calls[path] != 2 {
				t.Errorf("the paths %v, want %q twice", s.calls, path)
			}
			if diff := cmp.Diff([]string{"order=17+%26+18"}, s.quoted); diff != "" {
				t.Errorf("queries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSecretIsInNoEvent(t *testing.T) {
	for secret, complete := range map[string]bool{token: true, "another-token-4711": false} {
		neighbours(t, secret, func(t *testing.T, e *taskertest.Engine, _ *service) {
			id := e.MustSubmit("delivery", input())
			if complete {
				e.MustWait(id)
			} else if failed := e.MustFail(id); !strings.Contains(failed.Errors["book_carrier"], "401 Unauthorized: who are you? You sent Bearer [redacted]") {
				t.Errorf("a wrong token gave %v", failed.Errors)
			}
			history, err := e.History(context.Background(), id)
			if err != nil {
				t.Fatal(err)
			}
			redacted := 0
			for _, event := range history.Events {
				if bytes.Contains(event.Data, []byte(secret)) {
					t.Errorf("%s holds the secret: %s", event.Type, event.Data)
				}
				redacted += bytes.Count(event.Data, []byte("[redacted]"))
			}
			if redacted == 0 {
				t.Error("nothing was redacted: the service shows nothing any more")
			}
		})
	}
}
