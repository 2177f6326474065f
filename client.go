package tasker

import (
	"context"

	"github.com/tasker-go/tasker/domain"
)

// Client submits tasks to engines in other processes, waits for them, and reads the log. It runs nothing itself.
type Client struct {
	router
	close func()
}

// NewClient connects to the log that the Config names. Of the rest of the Config only Prefix, Clock and Logger matter. There
// must be a log already (natslog.ErrNoLog): engines make logs, clients never do.
func NewClient(ctx context.Context, config Config) (*Client, error) {
	if err := config.defaults(); err != nil {
		return nil, err
	}
	store, closeLog, err := config.open(ctx, true)
	if err != nil {
		return nil, err
	}
	return &Client{router: newRouter(store, &config), close: closeLog}, nil
}

// Close ends the connection.
func (c *Client) Close() { c.close() }

// Info says what the client talks to.
func (c *Client) Info() domain.DataInfo { return c.store.Data() }
