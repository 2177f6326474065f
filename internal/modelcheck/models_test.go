package modelcheck

import (
	"fmt"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/internal/scenario"
)

// models are the definitions that are searched: every graph of up to two steps with every option, every graph of three
// steps with some of them, and graphs of four steps with a few. The smallest come first.
func models() []model {
	var all []model
	// One step, everything, every lost worker.
	for _, opts := range options(1, "optional", "final") {
		for _, onFailure := range []domain.OnFailure{domain.FinishBranches, domain.Stop} {
			all = append(all, build("one", []string{""}, opts, onFailure, 0, scenario.AllSlots, domain.MaxLost+1))
		}
	}
	for _, graph := range [][]string{{"", ""}, {"", "a"}} {
		for _, opts := range options(2, "optional", "final") {
			for _, onFailure := range []domain.OnFailure{domain.FinishBranches, domain.Stop} {
				all = append(all, build("two", graph, opts, onFailure, 0, 0, 1))
			}
		}
		two := []model{
			build("two with a deadline", graph, []string{"", "optional"}, domain.FinishBranches, 3*time.Second, 0, 1),
			build("two, bypassed", graph, []string{"", "skippable"}, domain.FinishBranches, 0, 0, 0),
			build("two, one sleeps", graph, []string{"sleep", ""}, domain.Stop, 2*time.Second, 0, 1),
		}
		for i := range two {
			two[i].forked = true
		}
		all = append(all, two...)
	}
	for _, word := range []string{"", "optional", "final"} {
		m := build("one that checkpoints", []string{""}, []string{word}, domain.FinishBranches, 0, scenario.AllSlots, domain.MaxLost+1)
		m.talks = true
		all = append(all, m)
	}
	for _, graph := range [][]string{{"", ""}, {"", "a"}} {
		m := build("two that checkpoint", graph, []string{"", "once"}, domain.Stop, 3*time.Second, scenario.AllSlots, 1)
		m.talks = true
		all = append(all, m)
	}
	three := [][]string{
		{"", "", ""}, {"", "a", ""}, {"", "a", "a"}, {"", "", "ab"}, {"", "a", "b"}, {"", "a", "ab"},
	}
	for g, graph := range three {
		for i, opts := range options(3, "optional") {
			if (i+g)%8 > 0 {
				continue // the next graph is searched with the next options
			}
			onFailure := []domain.OnFailure{domain.FinishBranches, domain.Stop}[g%2]
			m := build("three", graph, opts, onFailure, 0, scenario.AllSlots*(g/2%2), 0)
			m.forked = g >= 4
			all = append(all, m)
		}
	}
	four := [][]string{{"", "a", "a", "bc"}, {"", "a", "b", "c"}}
	for g, graph := range four {
		opts := []string{"once", "once optional", "once final", "once"}
		onFailure := []domain.OnFailure{domain.FinishBranches, domain.Stop}[g%2]
		all = append(all, build("four", graph, opts, onFailure, 0, scenario.AllSlots, 0))
	}
	return all
}

// options lists every choice of words for n steps.
func options(n int, words ...string) [][]string {
	choices := []string{""}
	for _, w := range words {
		for _, c := range choices {
			choices = append(choices, strings.TrimSpace(c+" "+w))
		}
	}
	lists := [][]string{nil}
	for range n {
		var longer [][]string
		for _, l := range lists {
			for _, c := range choices {
				longer = append(longer, append(append([]string(nil), l...), c))
			}
		}
		lists = longer
	}
	return lists
}

// build makes a model: steps a, b, c, d with their parents' letters and their words.
func build(name string, graph, opts []string, onFailure domain.OnFailure, deadline time.Duration, slots int, lost int32) model {
	def := &domain.Definition{Name: "model", OnFailure: onFailure, Deadline: deadline}
	m := model{def: def, slots: slots, lost: lost}
	for i, parents := range graph {
		tpl := domain.StepTemplate{
			Name: string(rune('a' + i)), Handler: "work", RetryLimit: 2,
			Backoff: domain.Backoff{Strategy: domain.StrategyFixed, Base: time.Duration(1+i%2) * time.Second, Jitter: domain.NoJitter},
		}
		if parents != "" {
			tpl.DependsOn = strings.Split(parents, "")
		}
		for _, w := range strings.Fields(opts[i]) {
			switch w {
			case "optional":
				tpl.Optional = true
			case "final":
				tpl.NotRetryable = true
			case "once":
				tpl.RetryLimit = 1
			case "sleep":
				tpl.Handler, tpl.Wait = domain.SleepHandler, time.Second
			case "skippable":
				tpl.Skippable = true
				m.bypass = append(m.bypass, tpl.Name)
			}
		}
		def.Steps = append(def.Steps, tpl)
	}
	if err := def.Validate(); err != nil {
		panic(err)
	}
	m.name = fmt.Sprintf("%s %q %q %s", name, graph, opts, onFailure)
	return m
}
