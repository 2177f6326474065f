package domain

// StepCommand is an operator's verb on one step of a task.
type StepCommand interface {
	Command
	// StepName is the step that the verb is about.
	StepName() string
}

// StepName names the step; so do the methods below.
func (c RetryStep) StepName() string   { return c.Step }
func (c ResolveStep) StepName() string { return c.Step }
func (c CancelStep) StepName() string  { return c.Step }
func (c FinishStep) StepName() string  { return c.Step }
