package exechandler

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// inherited are the variables of the engine that every command gets; LC_* as well.
var inherited = []string{"PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"}

// given are the variables that the engine sets.
var given = []string{"TASKER_TASK", "TASKER_STEP", "TASKER_ATTEMPT", "TASKER_IDEMPOTENCY_KEY"}

// environment is the whole one, each variable once.
func (c config) environment(
	ctx context.Context, scope handlerconfig.Scope, task domain.TaskView, step domain.StepView,
) ([]string, error) {
	env := map[string]string{}
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if slices.Contains(inherited, name) || strings.HasPrefix(name, "LC_") || slices.Contains(c.passEnv, name) {
			env[name] = value
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.env)) {
		delete(env, name)
		if c.env[name] == nil {
			continue
		}
		value, there, err := scope.Text(ctx, *c.env[name])
		switch {
		case err != nil:
			return nil, fmt.Errorf("env.%s: %w", name, err)
		case hasNUL(value):
			return nil, handlerconfig.Failed(fmt.Errorf("env.%s: the value holds a NUL character, which no variable can", name))
		case there:
			env[name] = value
		}
	}
	for i, value := range []string{task.ID.String(), step.Name, strconv.Itoa(step.Attempt), step.IdempotencyKey} {
		env[given[i]] = value
	}
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list, nil
}

// valueOf is the value of a variable in an environment; "" when it is not there.
func valueOf(env []string, name string) string {
	for _, variable := range env {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}
