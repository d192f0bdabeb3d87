package lua

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kafka-upstream/internal/record"
)

func splitBody(n int) []byte {
	return []byte("[" + strings.TrimSuffix(strings.Repeat(`{"a":1},`, n), ",") + "]")
}

func TestWorkIsBoundedForAllRecordsOfARequest(t *testing.T) {
	r := exampleRequest()
	r.Body = splitBody(300)
	f := compile(t, `return function(m) for i = 1, 10000 do local x = i end return m.body_args end`)
	works := []int{maxWork - 1_000_000}
	b, err := record.NewBuilder(record.Options{Topic: "t", MaxValue: 1 << 20, Split: record.SplitArray, SplitLimit: 1000}, messages(), func(d *record.Draft) error {
		d.Work = max(d.Work, works[0]) // as if there had been many records
		err := f.Transform(d)
		works = append(works, d.Work)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := b.Append(nil, r, time.Now(), noLimit{})
	var e *record.TransformError
	if len(got) > 0 || !errors.As(err, &e) || !strings.Contains(e.Reason, "for one request") {
		t.Errorf("%d records, %v", len(got), err)
	}
	if each := works[1] - works[0]; each < 10_000 || each > 50_000 || len(works) < 1_000_000/each {
		t.Errorf("%d instructions each, in %d calls", each, len(works))
	}
}

func TestLogIsBoundedForAllRecordsOfARequest(t *testing.T) {
	r := exampleRequest()
	r.Body = splitBody(500)
	f := compile(t, `return function(m) for i = 1, 30 do kong.log.info(i) end return kafka.skip end`)
	most := 0
	b, err := record.NewBuilder(record.Options{Topic: "t", MaxValue: 1 << 20, Split: record.SplitArray, SplitLimit: 10_000}, messages(), func(d *record.Draft) error {
		err := f.Transform(d)
		most = max(most, len(d.Log))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, log, err := b.Append(nil, r, time.Now(), noLimit{}); err != nil || len(log) != 100 || most > 200 {
		t.Errorf("%d lines, %d at most, %v", len(log), most, err)
	}
}

func TestFunctionsWaitForAProcessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer func(was chan struct{}) { running = was }(running)
		running = make(chan struct{}, 1)
		f := compile(t, "return function(m) m.a = 1 return m end")
		running <- struct{}{} // another function
		ended := false
		go func() {
			if err := f.Transform(draft(t, exampleRequest())); err != nil {
				t.Error(err)
			}
			ended = true
		}()
		synctest.Wait()
		if ended {
			t.Error("it ran beside another one")
		}
		<-running
		synctest.Wait()
		if !ended || len(running) > 0 {
			t.Error("it did not run after the other one")
		}
	})
}
