package webhook_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/tasker-go/tasker/infra/webhook"
)

// A receiver: it verifies, does what it has to do at most once per id, and answers 2xx.
func ExampleVerify() {
	secret := "whsec_" + strings.Repeat("MfKQ", 8) // from the environment, of course
	receive := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 2<<20))
		if err != nil {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		id, err := webhook.Verify(r.Header, body, time.Now(), secret)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var event struct {
			Type, Subject string
			Data          json.RawMessage
		}
		if err := json.Unmarshal(body, &event); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Println(id, event.Type, event.Subject, string(event.Data))
	}

	body := `{"specversion":"1.0","id":"00-5-1","type":"task.completed","subject":"562f2e1e-68d8-5b11-8b3b-85ccc74efcd9","data":{"result":7}}`
	delivery := httptest.NewRequest(http.MethodPost, "/hooks", strings.NewReader(body))
	if err := webhook.Sign(delivery.Header, "data_00-5-1", time.Now(), []byte(body), secret); err != nil {
		fmt.Println(err)
	}
	receive(httptest.NewRecorder(), delivery)
	forged := httptest.NewRequest(http.MethodPost, "/hooks", strings.NewReader(body))
	answer := httptest.NewRecorder()
	receive(answer, forged)
	fmt.Println(answer.Code)
	// Output:
	// data_00-5-1 task.completed 562f2e1e-68d8-5b11-8b3b-85ccc74efcd9 {"result":7}
	// 401
}
