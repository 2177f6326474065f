package tasker

import (
	"context"
	"errors"
	"time"

	"github.com/tasker-go/tasker/infra/sqlite"
)

// BuildIndex makes the file of an index anew from the log, without an engine: for a log that no engine runs on now.
// progress is called from time to time; it may be nil. The file must not be open in another process.
func (c *Client) BuildIndex(ctx context.Context, path string, progress func(IndexRebuild)) error {
	file, err := openIndex(ctx, path, c.store, &Config{Logger: c.logger, Clock: c.clock})
	if err != nil {
		return err
	}
	began := time.Now()
	last := IndexRebuild{}
	err = file.Rebuild(ctx, c.store, func(p sqlite.Progress) {
		if last = rebuildOf(p); progress != nil {
			progress(last)
		}
	})
	if err == nil && progress != nil {
		last.Done, last.Took = true, time.Since(began)
		progress(last)
	}
	return errors.Join(err, file.Close())
}
