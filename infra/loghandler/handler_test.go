package loghandler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/loghandler"
)

func TestMessageIsLoggedAndReturned(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h := loghandler.New(loghandler.Options{Logger: func(context.Context) *slog.Logger { return logger }})
	result, err := h.Handle(t.Context(), domain.TaskView{Context: json.RawMessage(`{"who":"world"}`)}, nil,
		domain.StepView{Config: json.RawMessage(`{"message":"hello ${context.who}","level":"warn"}`)})
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(result)
	if err != nil || string(encoded) != `{"message":"hello world"}` {
		t.Errorf("result = %s, %v", encoded, err)
	}
	if line := out.String(); !strings.Contains(line, `level=WARN msg="hello world"`) {
		t.Errorf("logged %q", line)
	}
}

func TestWithoutALoggerOfTheStepTheDefaultOneNamesTheStep(t *testing.T) {
	var out bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	defer slog.SetDefault(before)
	_, err := loghandler.New(loghandler.Options{}).Handle(t.Context(), domain.TaskView{}, nil,
		domain.StepView{Name: "say", Config: json.RawMessage(`{"message":"hi"}`)})
	if line := out.String(); err != nil || !strings.Contains(line, "msg=hi") || !strings.Contains(line, "step=say") {
		t.Errorf("logged %q, %v", line, err)
	}
}

func TestMistakesOfTheConfigAreNamedAndFinal(t *testing.T) {
	for config, want := range map[string]string{
		``:                               "message is missing",
		`{"message":"x","level":"loud"}`: `got "loud"`,
		`{"message":"${x}"}`:             "begins neither",
		`{"message":"x","text":"y"}`:     `unknown keys "text"`,
	} {
		err := loghandler.Validate(json.RawMessage(config))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
		_, err = loghandler.New(loghandler.Options{}).Handle(t.Context(), domain.TaskView{}, nil,
			domain.StepView{Config: json.RawMessage(config)})
		if failure := (*domain.Failure)(nil); !errors.As(err, &failure) || failure.Kind != domain.KindPermanent {
			t.Errorf("%s: run gives %v, want a permanent failure", config, err)
		}
	}
}
