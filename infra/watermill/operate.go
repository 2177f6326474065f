package watermill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tasker-go/tasker/domain"
)

// operate carries out one verb.
func (i *Intake) operate(topic string, msg *message.Message) error {
	if err := topicProblem(topic); err != nil {
		return err
	}
	if i.config.Operator == nil {
		return errors.New("the Intake has nobody to carry out verbs (IntakeConfig.Operator): give it the engine or a client")
	}
	r, err := requestOf(domain.Verb(topic), msg.Payload)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(msg.Context(), i.config.Timeout)
	defer cancel()
	return i.config.Operator.Operate(ctx, r)
}

// topicProblem refuses a topic that asks for nothing.
func topicProblem(topic string) error {
	topics := []string{string(domain.TaskCreatedType)}
	for _, v := range domain.Verbs() {
		topics = append(topics, string(v))
	}
	if slices.Contains(topics, topic) {
		return nil
	}
	hint := ""
	if near := domain.Nearest(topic, topics); near != "" {
		hint = fmt.Sprintf("; was %q meant?", near)
	}
	return fmt.Errorf("topic %q: %w%s", topic, ErrFactsAreNotPublished, hint)
}

func requestOf(v domain.Verb, payload []byte) (domain.OperatorRequest, error) {
	r := domain.OperatorRequest{}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.DisallowUnknownFields() // a misspelled field would be lost in silence
	err := dec.Decode(&r)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more behind the JSON object")
		}
	}
	switch {
	case err != nil:
		err = fmt.Errorf(`want {"task": "...", "actor": "...", "reason": "..."}: %w`, err)
	case r.Task.IsZero():
		err = errors.New(`"task", the id of a task, is missing`)
	case v.OfStep() && r.Step == "":
		err = errors.New(`"step", the name of a step, is missing`)
	case !v.OfStep() && r.Step != "":
		err = fmt.Errorf(`there is a "step", but %s is about the whole task`, v)
	}
	if err != nil {
		return r, fmt.Errorf("the payload is no request for %s: %w", v, err)
	}
	r.Verb = v
	return r, nil
}
