package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// token is what the carrier wants to see. In real life it is a secret, and stands nowhere in the code.
const token = "carrier-token-0815"

// service is everything that the delivery calls. Each of its faults happens once.
type service struct {
	log io.Writer // of requests; nil for none

	mu       sync.Mutex
	calls    map[string]int    // by path
	shipment map[string]string // by idempotency key
	quoted   []string          // the queries of quotes
}

func newService(log io.Writer) *service {
	return &service{log: log, calls: map[string]int{}, shipment: map[string]string{}}
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /stock/reservations", s.reserve)
	mux.HandleFunc("GET /carriers/{name}/quote", s.quote)
	mux.HandleFunc("GET /customers/{name}/points", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "nobody is named "+r.PathValue("name"), http.StatusNotFound)
	})
	mux.HandleFunc("POST /shipments", s.ship)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls[r.URL.Path]++
		if s.log != nil {
			_, _ = fmt.Fprintln(s.log, r.Method, r.URL, "with the key", r.Header.Get("Idempotency-Key"))
		}
		s.mu.Unlock()
		mux.ServeHTTP(w, r)
	})
}

// first reports whether this is the first call of the path.
func (s *service) first(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[r.URL.Path] == 1
}

func (s *service) reserve(w http.ResponseWriter, r *http.Request) {
	if s.first(r) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many orders", http.StatusTooManyRequests)
		return
	}
	var in struct{ Order string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, map[string]any{"id": "res-" + in.Order})
}

func (s *service) quote(w http.ResponseWriter, r *http.Request) {
	if s.first(r) {
		http.Error(w, "the tariffs are being loaded", http.StatusServiceUnavailable)
		return
	}
	s.mu.Lock()
	s.quoted = append(s.quoted, r.URL.RawQuery)
	s.mu.Unlock()
	answer(w, map[string]any{"carrier": r.PathValue("name"), "cents": 599})
}

// ship books once per idempotency key. It shows what it was sent, as careless services do.
func (s *service) ship(w http.ResponseWriter, r *http.Request) {
	sent := r.Header.Get("Authorization")
	if !strings.HasSuffix(sent, " "+token) {
		http.Error(w, "who are you? You sent "+sent, http.StatusUnauthorized)
		return
	}
	var in struct {
		Reservation string
		Cents       int
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	key := r.Header.Get("Idempotency-Key")
	s.mu.Lock()
	if s.shipment[key] == "" {
		s.shipment[key] = fmt.Sprintf("ship-%d", len(s.shipment)+1)
	}
	id := s.shipment[key]
	s.mu.Unlock()
	if s.first(r) {
		<-r.Context().Done() // until the caller gives up
		return
	}
	answer(w, map[string]any{"id": id, "of": in.Reservation, "cents": in.Cents, "you_sent": sent})
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // the caller may have gone
}
