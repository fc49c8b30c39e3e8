package session

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// pubSubPing is after what silence a subscriber looks whether its connection
// still lives.
const pubSubPing = time.Second

// Publish sends news to all instances that Subscribe just now, this one too.
func (r *Redis) Publish(ctx context.Context, news string) error {
	if err := r.client.Publish(ctx, r.channel, news).Err(); err != nil {
		return fmt.Errorf("publishing news: %w", err)
	}
	return nil
}

// Subscribe tells heard all news until ctx ends. While Redis is out of reach
// news is lost.
func (r *Redis) Subscribe(ctx context.Context, heard func(news string)) {
	sub := r.client.Subscribe(ctx, r.channel)
	defer sub.Close()
	all := sub.Channel(redis.WithChannelHealthCheckInterval(pubSubPing))
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-all:
			if !ok {
				return
			}
			heard(m.Payload)
		}
	}
}
