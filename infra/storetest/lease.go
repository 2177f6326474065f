package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

func runLeases(t *testing.T, open opener) {
	run(t, open, []conformance{
		{"one_holder_at_a_time", leaseOneHolderAtATime},
		{"released_it_is_free_at_once", leaseReleasedItIsFreeAtOnce},
		{"not_renewed_it_goes_to_another", leaseNotRenewedItGoesToAnother},
		{"renewed_it_is_kept_and_still_runs_out", leaseRenewedItIsKeptAndStillRunsOut},
		{"run_out_and_free_it_can_be_renewed", leaseRunOutAndFreeItCanBeRenewed},
	})
}

func leaseOneHolderAtATime(t *testing.T, open opener) {
	ctx, leases := testContext(t), open(t).Leases()
	a := must(leases.Acquire(ctx, "partition.00", "a", time.Minute))(t)
	for _, holder := range []string{"b", "a"} {
		_, err := leases.Acquire(ctx, "partition.00", holder, time.Minute)
		wantError(t, err, domain.ErrLeaseTaken)
		if !strings.Contains(err.Error(), ": a") {
			t.Errorf("the error does not name the holder: %v", err)
		}
	}
	must(leases.Acquire(ctx, "partition.01", "b", time.Minute))(t)
	for range 3 {
		if err := a.Renew(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func leaseReleasedItIsFreeAtOnce(t *testing.T, open opener) {
	ctx, leases := testContext(t), open(t).Leases()
	for _, holder := range []string{"a", "b", "a"} {
		l := must(leases.Acquire(ctx, "x", holder, time.Minute))(t)
		if err := l.Renew(ctx); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := l.Release(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func leaseNotRenewedItGoesToAnother(t *testing.T, open opener) {
	ctx, leases := testContext(t), open(t).Leases()
	begin := time.Now()
	a := must(leases.Acquire(ctx, "x", "a", leaseTTL))(t)
	var b domain.Lease
	await(ctx, t, "the lease to run out", func() bool {
		var err error
		b, err = leases.Acquire(ctx, "x", "b", time.Minute)
		return err == nil
	})
	if d := time.Since(begin); d < leaseTTL {
		t.Errorf("it ran out after %s of %s", d, leaseTTL)
	}
	wantError(t, a.Renew(ctx), domain.ErrLeaseTaken)
	if err := a.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Renew(ctx); err != nil {
		t.Fatalf("the release of one that was lost has ended another: %v", err)
	}
}

func leaseRenewedItIsKeptAndStillRunsOut(t *testing.T, open opener) {
	ctx, leases := testContext(t), open(t).Leases()
	a := must(leases.Acquire(ctx, "x", "a", 2*leaseTTL))(t)
	begin := time.Now()
	var renewed time.Time
	await(ctx, t, "more than its ttl to pass", func() bool {
		if time.Since(renewed) > leaseTTL/2 {
			renewed = time.Now()
			if err := a.Renew(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := leases.Acquire(ctx, "x", "b", leaseTTL); err == nil {
			t.Fatalf("it was lost %s after its renewal", time.Since(renewed))
		}
		return time.Since(begin) > 3*leaseTTL
	})
	await(ctx, t, "the renewed lease to run out", func() bool {
		_, err := leases.Acquire(ctx, "x", "b", time.Minute)
		return err == nil
	})
}

func leaseRunOutAndFreeItCanBeRenewed(t *testing.T, open opener) {
	ctx, leases := testContext(t), open(t).Leases()
	a := must(leases.Acquire(ctx, "x", "a", leaseTTL))(t)
	begin := time.Now()
	await(ctx, t, "it to run out", func() bool { return time.Since(begin) > leaseTTL+leaseTTL/2 })
	if err := a.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	_, err := leases.Acquire(ctx, "x", "b", leaseTTL)
	wantError(t, err, domain.ErrLeaseTaken)
}
