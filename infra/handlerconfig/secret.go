package handlerconfig

import (
	"context"
	"fmt"
	"os"

	"github.com/tasker-go/tasker/domain"
)

// SecretPrefix begins the names of the variables that templates can read, and no others: a definition comes from
// whoever may register one, and the environment of an engine holds more than is meant for them.
const SecretPrefix = "TASKER_SECRET_"

// EnvSecret reads ${secret.name} from the variable TASKER_SECRET_<name> of this process. A variable that is not set, or
// empty, is a permanent failure with ErrNoValue and code SECRET.
func EnvSecret(_ context.Context, name string) (string, error) {
	if value := os.Getenv(SecretPrefix + name); value != "" {
		return value, nil
	}
	return "", &domain.Failure{Kind: domain.KindPermanent, Code: "SECRET", Err: fmt.Errorf(
		"%w: set %s%s in the environment of the engine, then retry the step", ErrNoValue, SecretPrefix, name)}
}
