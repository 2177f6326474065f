package jetstream

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

// checkSubject refuses what cannot be published to.
func checkSubject(topic string) error {
	if err := checkFilter(topic); err != nil {
		return err
	}
	for token := range strings.SplitSeq(topic, ".") {
		if token == "*" || token == ">" {
			return fmt.Errorf("topic %q has a wildcard: a message is published to one subject", topic)
		}
	}
	return nil
}

func checkFilter(subject string) error {
	if subject == "" {
		return fmt.Errorf("the topic is empty: it is a NATS subject")
	}
	if i := strings.IndexFunc(subject, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("topic %q has a space or a control character: it is a NATS subject", subject)
	}
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		if token == "" {
			return fmt.Errorf("topic %q has an empty part: no dots at the ends or next to each other", subject)
		}
		if token == ">" && i < len(tokens)-1 {
			return fmt.Errorf("topic %q goes on after \">\", which stands for all that follows", subject)
		}
	}
	return nil
}

// filters are the subjects of a topic: one, or several between commas.
func filters(topic string) ([]string, error) {
	var subjects []string
	for subject := range strings.SplitSeq(topic, ",") {
		subject = strings.TrimSpace(subject)
		if err := checkFilter(subject); err != nil {
			return nil, err
		}
		if !slices.Contains(subjects, subject) {
			subjects = append(subjects, subject)
		}
	}
	return subjects, nil
}

// maxNamePart keeps a derived name well below the server's limit of 255, which file systems have, too.
const maxNamePart = 80

// DurableName is the name of the durable consumer of a group for a topic: readable, valid whatever the two contain, and
// different for every pair.
func DurableName(group, topic string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(group + "\x00" + topic))
	return fmt.Sprintf("%s-%s-%016x", namePart(group), namePart(topic), h.Sum64())
}

func namePart(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, s)
	return s[:min(len(s), maxNamePart)]
}
