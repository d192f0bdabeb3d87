package producer

import (
	"errors"
	"time"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/producer/cluster"
)

// HealthGating rejects records early, while nothing could be delivered: after that many
// consecutive failures to reach a broker or to log in, for all topics of the producer; or after
// that many consecutive refusals of the topic by the brokers' ACLs, for that topic.
//
// A metadata request that no broker answers, or whose login is rejected, is a failure to reach
// brokers. Others do not count: a batch that failed because its leader moved, for want of
// replicas, or without an answer in time; a login that was held back because another one had just
// been rejected. Records that are buffered stay, and their attempts go on. Where nothing was
// sent, nothing is known, and the producer is healthy.
type HealthGating struct {
	Failures      int           // consecutive ones that make it unhealthy; 0: no gating
	ProbeInterval time.Duration // between two probes while it is unhealthy
	Recoveries    int           // consecutive good probes, or delivered batches, that make it healthy; at least 1
}

// ErrUnhealthy is the error of Send while HealthGating rejects records.
var ErrUnhealthy = errors.New("the producer is unhealthy (producer_async_health_gating)")

func (o *Options) gated() bool { return o.Async && o.HealthGating.Failures > 0 }

// health counts consecutive failures, or good probes while it is unhealthy. The producer's mutex
// guards it.
type health struct {
	unhealthy bool
	n         int
}

// failed notes a failure. It reports whether it was the one that makes it unhealthy.
func (h *health) failed(g *HealthGating) (turned bool) {
	if h.unhealthy {
		h.n = 0
		return false
	}
	if h.n++; h.n < g.Failures {
		return false
	}
	*h = health{unhealthy: true}
	return true
}

// succeeded notes a good probe, or a success that shows the same. It reports whether it was the
// one that makes it healthy.
func (h *health) succeeded(g *HealthGating) (turned bool) {
	if !h.unhealthy {
		h.n = 0
		return false
	}
	if h.n++; h.n < g.Recoveries {
		return false
	}
	*h = health{}
	return true
}

// unhealthy reports whether records for the topic are rejected. The caller holds p.mu.
func (p *Producer) unhealthy(t *topic) bool { return p.health.unhealthy || t.health.unhealthy }

// attemptDone notes an attempt to produce a batch. Whether it could reach brokers and log in
// shows in the metadata request that follows.
func (p *Producer) attemptDone(topic string, err error) {
	if !p.o.gated() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.topics[topic]
	if err == nil {
		p.noteHealth(nil, nil)
	}
	if t != nil && (err == nil || kafkaerr.Of(err) == kafkaerr.NotAuthorized) {
		p.noteHealth(t, err)
	}
}

// metadataRequested notes a metadata request that was sent, not one that was answered with what
// is known.
func (p *Producer) metadataRequested(topic string, err error) {
	if !p.o.gated() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch class := kafkaerr.Of(err); {
	case err == nil, kafkaerr.IsMissingTopic(err): // brokers answer
		p.noteHealth(nil, nil)
	case class == kafkaerr.NotAuthorized:
		p.noteHealth(nil, nil)
		if t := p.topics[topic]; t != nil {
			p.noteHealth(t, err)
		}
	case kafkaerr.IsUnreachable(err), class == kafkaerr.Authentication, class == kafkaerr.TLS:
		p.noteHealth(nil, err)
	}
}

// noteHealth notes a failure, or a success if err is nil, of the topic; of what all topics have
// in common if t is nil. The caller holds p.mu.
func (p *Producer) noteHealth(t *topic, err error) {
	h, log := &p.health, p.logger
	if t != nil {
		h, log = &t.health, p.logger.With("topic", t.name)
	}
	g := &p.o.HealthGating
	switch {
	case err == nil && h.succeeded(g):
		log.Info("healthy again: records are accepted", "servers", p.o.Servers)
	case err != nil && h.failed(g):
		log.Warn("unhealthy: records are rejected until probes succeed", "servers", p.o.Servers,
			"failures", g.Failures, "probe_interval", g.ProbeInterval, "reason", kafkaerr.Of(err).String())
		p.startProbes()
	}
}

// startProbes starts probe if it does not run. The caller holds p.mu.
func (p *Producer) startProbes() {
	if !p.probing && !p.closed && p.shares > 0 {
		p.probing = true
		p.requests.Go(p.probe)
	}
}

// probe makes probes, one in each ProbeInterval, until everything is healthy, no instance uses the
// producer, or it is closed. A probe is a new connection with a login and a metadata request. For
// topics that ACLs refuse, it is the question whether they still do.
func (p *Producer) probe() {
	ctx := p.cluster.Context()
	ticker := time.NewTicker(max(p.o.HealthGating.ProbeInterval, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		login, refused, ok := p.nextProbe()
		if !ok {
			return
		}
		if login != "" && p.cluster.Reconnect(ctx, login) != nil { // the observer notes how it ended
			continue
		}
		for _, topic := range refused {
			p.topicProbed(topic, p.cluster.CheckTopic(ctx, topic))
		}
	}
}

// nextProbe returns the topic with which to log in, "" if logins are healthy, and those that ACLs
// refuse. If there is nothing to be probed, it ends the probes, and ok is false.
func (p *Producer) nextProbe() (login string, refused []string, ok bool) {
	p.mu.Lock()
	if p.shares > 0 {
		for _, t := range p.topics {
			if t.health.unhealthy {
				refused = append(refused, t.name)
			}
			if p.health.unhealthy && t.orphaned.IsZero() {
				login = t.name
			}
		}
	}
	ok = login != "" || len(refused) > 0
	p.probing = ok
	idle := !ok && !p.dispatching
	p.mu.Unlock()
	if idle { // no dispatcher will do it
		p.cluster.CloseIdleConnections()
	}
	return login, refused, ok
}

// topicProbed notes what a probe says of a topic.
func (p *Producer) topicProbed(name string, err error) {
	if cluster.IsHeldBack(err) || kafkaerr.IsUnreachable(err) || kafkaerr.IsAuthentication(err) {
		return // it says nothing of the topic
	}
	if kafkaerr.Of(err) != kafkaerr.NotAuthorized { // what brokers check first
		err = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.topics[name]; t != nil && t.health.unhealthy {
		p.noteHealth(t, err)
	}
}
