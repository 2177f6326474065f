// Package goldenlog holds no code: its test folds logs that older versions of the engine have written. See README.md.
package goldenlog
