// Package modelcheck searches everything that can happen to small tasks: the law (domain) and the reactors, in every
// order of reports, timers, lost workers, operator's verbs and commits that were cut short. Its test holds in every
// state what SEMANTICS promises of all of them.
package modelcheck
