// Package webhook delivers events over HTTP: each as a POST with a CloudEvent in its body, signed after the Standard Webhooks
// scheme (Sign, and Verify for receivers written in Go). What a receiver cannot take is sent again; what it refuses is parked
// in the dead letters by the subscription that a webhook runs on. A receiver that is slow, dead or hostile costs its own
// deliveries only. docs/feed-and-webhooks.md is for those who set them up, and for receivers.
package webhook
