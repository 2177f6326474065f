package natslog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/storetest"
)

// commitLike is a body of about n bytes that compresses as commits do.
func commitLike(n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, `{"type":"step.completed","step":"step-%d","attempt":1,"at":%d,"data":{"dummy":true,"n":%d}},`, i%4, 1700000000000000+i*137, i*7919)
	}
	text, _ := json.Marshal(string(b[:n]))
	return text
}

func BenchmarkAppend(b *testing.B) {
	for _, mode := range []string{"strict", "interval"} {
		for _, size := range []int{400, 50_000} {
			b.Run(fmt.Sprintf("%s/%d", mode, size), func(b *testing.B) {
				opts := []natsservertest.Option{func(o *natsserver.Options) { o.MaxStore = 16 << 30 }}
				if mode == "strict" {
					opts = append(opts, natsservertest.Strict())
				}
				srv := natsservertest.Single(b, opts...)
				log := open(b, natslog.Options{Connect: srv.Connect}).Log(0)
				data := commitLike(size)
				var times []time.Duration
				ctx := context.Background()
				last := uint64(0)
				b.ReportAllocs()
				for b.Loop() {
					begin := time.Now()
					sequence, err := storetest.Append(ctx, log, last, "00000000-0000-7000-8000-000000000000", data)
					if err != nil {
						b.Fatal(err)
					}
					last = sequence
					times = append(times, time.Since(begin))
				}
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
				b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
			})
		}
	}
}

func BenchmarkScan(b *testing.B) {
	for _, size := range []int{1700, 50_000, 500_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			srv := natsservertest.Single(b)
			log := open(b, natslog.Options{Connect: srv.Connect}).Log(0)
			data := commitLike(size)
			ctx := context.Background()
			const total = 200 << 20
			n := min(total/size, 60_000)
			for i := range uint64(n) {
				if _, err := storetest.Append(ctx, log, i, "00000000-0000-7000-8000-000000000000", data); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(n) * int64(len(data)))
			for b.Loop() {
				seen := 0
				if err := log.Scan(ctx, 1, func(domain.Message) error { seen++; return nil }); err != nil || seen != n {
					b.Fatal(seen, err)
				}
			}
		})
	}
}
