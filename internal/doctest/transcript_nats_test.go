package doctest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsFlags are those that the test knows: whether a value follows.
var natsFlags = map[string]bool{
	"--raw": false, "--jetstream": false, "-J": false, "--header": true, "-H": true, "--count": true, "--all": false,
	"--names": false, "-n": false, "--subjects-only": false, "--terminate-at-end": false, "-T": false,
	"--filter": true, "--pull": false, "--ack": true, "--deliver": true, "--defaults": false,
}

// natsCall is a command line of the nats program, taken apart.
type natsCall struct {
	args  []string
	flags map[string][]string
}

func parseNATS(args []string) (natsCall, error) {
	c := natsCall{flags: map[string][]string{}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if !strings.HasPrefix(arg, "-") {
			c.args = append(c.args, arg)
			continue
		}
		name, value, given := strings.Cut(arg, "=")
		takes, known := natsFlags[name]
		switch {
		case !known:
			return c, fmt.Errorf("the test does not know the flag %s of nats", name)
		case takes && !given && len(args) == 0:
			return c, fmt.Errorf("%s needs a value", name)
		case takes && !given:
			value, args = args[0], args[1:]
		}
		c.flags[name] = append(c.flags[name], value)
	}
	return c, nil
}

func (c natsCall) has(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return c.flags[name] != nil })
}

// count is how many messages are wanted, 0 when nothing is said.
func (c natsCall) count() int {
	if !c.has("--count") {
		return 0
	}
	n, err := strconv.Atoi(c.flags["--count"][0])
	if err != nil {
		return -1
	}
	return n
}

// nats does what the nats command line does, and prints what it prints.
func (s *session) nats(args []string, subscribed func()) (string, error) {
	c, err := parseNATS(args)
	if err != nil {
		return "", err
	}
	js, err := jetstream.New(s.nc)
	if err != nil {
		return "", err
	}
	verb := strings.Join(c.args[:min(2, len(c.args))], " ")
	switch {
	case c.args[0] == "pub" && len(c.args) == 3:
		return s.pub(c)
	case c.args[0] == "req" && len(c.args) == 3 && c.has("--raw"):
		return s.req(c)
	case c.args[0] == "sub" && len(c.args) == 2 && c.has("--all") && c.has("--terminate-at-end", "-T"):
		return s.subStream(js, c)
	case c.args[0] == "sub" && len(c.args) == 2 && c.count() > 0:
		return s.sub(c, subscribed)
	case verb == "stream get" && len(c.args) == 4:
		return s.streamGet(js, c)
	case verb == "consumer add" && len(c.args) == 4 && c.has("--pull") && c.has("--defaults"):
		return s.consumerAdd(js, c)
	case verb == "consumer next" && len(c.args) == 4 && c.has("--raw") && c.count() > 0:
		return s.consumerNext(js, c)
	case verb == "kv get" && len(c.args) == 4 && c.has("--raw"):
		return s.kvGet(js, c)
	case verb == "stream ls" && c.has("-n", "--names"):
		return s.streamNames(js)
	}
	return "", fmt.Errorf("the test does not know nats %s", strings.Join(args, " "))
}

func clock() string { return time.Now().Format("15:04:05 ") }

func (c natsCall) message() *nats.Msg {
	m := &nats.Msg{Subject: c.args[1], Data: []byte(c.args[2]), Header: nats.Header{}}
	for _, h := range slices.Concat(c.flags["-H"], c.flags["--header"]) {
		name, value, _ := strings.Cut(h, ":")
		m.Header[name] = append(m.Header[name], strings.TrimSpace(value))
	}
	return m
}

func (s *session) pub(c natsCall) (string, error) {
	m := c.message()
	published := fmt.Sprintf("%sPublished %d bytes to %q\n", clock(), len(m.Data), m.Subject)
	if !c.has("-J", "--jetstream") {
		return published, errors.Join(s.nc.PublishMsg(m), s.nc.Flush())
	}
	js, err := jetstream.New(s.nc)
	if err != nil {
		return "", err
	}
	ack, err := js.PublishMsg(s.ctx, m)
	if err != nil {
		return "", err
	}
	return published + fmt.Sprintf("%sStored in Stream: %s Sequence: %d\n", clock(), ack.Stream, ack.Sequence), nil
}

func (s *session) req(c natsCall) (string, error) {
	answer, err := s.nc.RequestMsgWithContext(s.ctx, c.message())
	if errors.Is(err, nats.ErrNoResponders) {
		return clock() + "No responders are available\n", nil
	}
	if err != nil {
		return "", err
	}
	return string(answer.Data) + "\n", nil
}

func (s *session) sub(c natsCall, subscribed func()) (string, error) {
	sub, err := s.nc.SubscribeSync(c.args[1])
	if err != nil {
		return "", err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := s.nc.Flush(); err != nil {
		return "", err
	}
	if subscribed != nil {
		subscribed()
	}
	out := fmt.Sprintf("%sSubscribing on %s \n", clock(), c.args[1])
	for n := 1; n <= c.count(); n++ {
		m, err := sub.NextMsgWithContext(s.ctx)
		if err != nil {
			return out, err
		}
		head := fmt.Sprintf("[#%d] Received on %q", n, m.Subject)
		if m.Reply != "" {
			head += fmt.Sprintf(" with reply %q", m.Reply)
		}
		out += c.show(head, m.Header, m.Data)
	}
	return out, nil
}

// show prints a message as a subscription does.
func (c natsCall) show(head string, header nats.Header, data []byte) string {
	if c.has("--raw") {
		return string(data) + "\n"
	}
	out := head + "\n" + headerLines(header)
	return out + "\n" + string(data) + "\n\n\n"
}

func headerLines(header nats.Header) string {
	out := ""
	for name, values := range header {
		for _, value := range values {
			out += name + ": " + value + "\n"
		}
	}
	return out
}

// subStream shows what a stream has of a subject.
func (s *session) subStream(js jetstream.JetStream, c natsCall) (string, error) {
	subject := c.args[1]
	stream, err := js.StreamNameBySubject(s.ctx, subject)
	if err != nil {
		return "", fmt.Errorf("%s: %w", subject, err)
	}
	consumer, err := js.OrderedConsumer(s.ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		return "", err
	}
	left := consumer.CachedInfo().NumPending
	messages, err := consumer.Messages()
	if err != nil {
		return "", err
	}
	defer messages.Stop()
	out := fmt.Sprintf("%sSubscribing to subject %s from first received message \n", clock(), subject)
	for n := 1; left > 0; n++ {
		m, err := messages.Next(jetstream.NextContext(s.ctx))
		if err != nil {
			return out, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return out, err
		}
		left = meta.NumPending
		head := fmt.Sprintf("[#%d] Received JetStream message: stream: %s seq: %d / pending: %d / subject: %s / time: %s",
			n, meta.Stream, meta.Sequence.Stream, meta.NumPending, m.Subject(), meta.Timestamp.UTC().Format(time.DateTime))
		if c.has("--subjects-only") {
			out += head + "\n"
		} else {
			out += c.show(head, m.Headers(), m.Data())
		}
	}
	return out, nil
}

func (s *session) consumerAdd(js jetstream.JetStream, c natsCall) (string, error) {
	config := jetstream.ConsumerConfig{Durable: c.args[3], FilterSubjects: c.flags["--filter"], AckPolicy: jetstream.AckExplicitPolicy}
	if ack, deliver := c.flags["--ack"], c.flags["--deliver"]; len(ack) != 1 || ack[0] != "explicit" || len(deliver) != 1 || deliver[0] != "all" {
		return "", fmt.Errorf("the test knows consumers with --ack explicit and --deliver all")
	}
	_, err := js.CreateConsumer(s.ctx, c.args[2], config)
	return "", err // what it prints is not worth a comparison: the page sends it away
}

func (s *session) consumerNext(js jetstream.JetStream, c natsCall) (string, error) {
	consumer, err := js.Consumer(s.ctx, c.args[2], c.args[3])
	if err != nil {
		return "", err
	}
	out := ""
	for range c.count() {
		m, err := consumer.Next(jetstream.FetchMaxWait(5 * time.Second))
		if err == nil {
			err = m.DoubleAck(s.ctx)
		}
		if err != nil {
			return out, err
		}
		out += string(m.Data()) + "\n"
	}
	return out, nil
}

func (s *session) kvGet(js jetstream.JetStream, c natsCall) (string, error) {
	bucket, err := js.KeyValue(s.ctx, c.args[2])
	if err != nil {
		return "", err
	}
	entry, err := bucket.Get(s.ctx, c.args[3])
	if err != nil {
		return "", err
	}
	return string(entry.Value()) + "\n", nil
}

func (s *session) streamGet(js jetstream.JetStream, c natsCall) (string, error) {
	stream, err := js.Stream(s.ctx, c.args[2])
	if err != nil {
		return "", err
	}
	sequence, err := strconv.ParseUint(c.args[3], 10, 64)
	if err != nil {
		return "", err
	}
	m, err := stream.GetMsg(s.ctx, sequence)
	for errors.Is(err, jetstream.ErrMsgNotFound) && s.ctx.Err() == nil { // typed faster than a person would
		time.Sleep(10 * time.Millisecond)
		m, err = stream.GetMsg(s.ctx, sequence)
	}
	if err != nil {
		return "", err
	}
	for _, name := range []string{"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"} {
		delete(m.Header, name) // the answer to a direct read has them, the message has not
	}
	out := fmt.Sprintf("Item: %s#%d received %s (1ms) on Subject %s\n", c.args[2], m.Sequence, m.Time.UTC(), m.Subject)
	if len(m.Header) > 0 {
		out += "\nHeaders:\n" + indented(headerLines(m.Header))
	}
	return out + "\n" + string(m.Data) + "\n", nil
}

func indented(lines string) string {
	return regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(lines, "  $1")
}

func (s *session) streamNames(js jetstream.JetStream) (string, error) {
	var names []string
	list := js.StreamNames(s.ctx)
	for name := range list.Name() {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, "\n") + "\n", list.Err()
}

var headerLine = regexp.MustCompile(`^ *[A-Za-z][A-Za-z0-9-]*: `)

// sortHeaders sorts every run of lines that look like headers.
func sortHeaders(text string) string {
	lines := strings.Split(text, "\n")
	for from := 0; from < len(lines); from++ {
		to := from
		for to < len(lines) && headerLine.MatchString(lines[to]) {
			to++
		}
		slices.Sort(lines[from:to])
		from = max(from, to-1)
	}
	return strings.Join(lines, "\n")
}
