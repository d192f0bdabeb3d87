package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// addUsers gives the cluster its SCRAM users. (PLAIN's are in the brokers'
// properties.)
func (c *Cluster) addUsers(ctx context.Context) error {
	if c.cfg.SASL == nil || len(c.cfg.SASL.Scram) == 0 {
		return nil
	}
	cl, err := newClient(c.Addrs(Plaintext))
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
		var users []kadm.UpsertSCRAM
		for user, password := range c.cfg.SASL.Scram {
			users = append(users, kadm.UpsertSCRAM{User: user, Mechanism: mechanism, Iterations: 4096, Password: password})
		}
		altered, err := kadm.NewClient(cl).AlterUserSCRAMs(ctx, nil, users)
		if err == nil {
			err = altered.Error()
		}
		if err != nil {
			return fmt.Errorf("adding the SCRAM users: %w", err)
		}
	}
	for user, password := range c.cfg.SASL.Scram {
		auth := scram.Auth{User: user, Pass: password}
		for _, mechanism := range []sasl.Mechanism{auth.AsSha256Mechanism(), auth.AsSha512Mechanism()} {
			if err := c.waitLogin(ctx, mechanism); err != nil {
				return fmt.Errorf("user %s by %s: %w", user, mechanism.Name(), err)
			}
		}
	}
	return nil
}

// waitLogin returns when every running broker lets the mechanism's user in:
// brokers learn of a new one a moment after the request that made it.
func (c *Cluster) waitLogin(ctx context.Context, mechanism sasl.Mechanism) error {
	for _, b := range c.brokers {
		for b.running() {
			cl, err := newClient([]string{b.addrs[SASLPlaintext]}, kgo.SASL(mechanism))
			if err != nil {
				return err
			}
			_, err = kadm.NewClient(cl).BrokerMetadata(ctx)
			cl.Close()
			if err == nil {
				break
			}
			if !pause(ctx) {
				return fmt.Errorf("broker %d does not let them in: %w", b.id, err)
			}
		}
	}
	return nil
}

// Allow lets a principal ("User:alice") do the operations on a topic, where
// Config.Authorizer is set. It returns when every running broker has the rules.
func (c *Cluster) Allow(t testing.TB, principal, topic string, operations ...kadm.ACLOperation) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startDeadline)
	defer cancel()
	rules := kadm.NewACLs().Allow(principal).AllowHosts("*").Topics(topic).Operations(operations...).ResourcePatternType(kadm.ACLPatternLiteral)
	created, err := c.admin(t).CreateACLs(ctx, rules)
	for _, r := range created {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		t.Fatalf("allowing %s %v on topic %s: %v", principal, operations, topic, err)
	}
	for _, b := range c.brokers {
		if err := b.waitRules(ctx, principal, topic, len(operations)); err != nil {
			t.Fatalf("broker %d does not allow %s %v on topic %s: %v", b.id, principal, operations, topic, err)
		}
	}
}

// waitRules returns when the broker knows n or more rules about the principal
// and the topic, or has ended.
func (b *broker) waitRules(ctx context.Context, principal, topic string, n int) error {
	cl, err := newClient([]string{b.addrs[Plaintext]})
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType = kmsg.ACLResourceTypeTopic
	req.ResourceName = kmsg.StringPtr(topic)
	req.ResourcePatternType = kmsg.ACLResourcePatternTypeLiteral
	req.Principal = kmsg.StringPtr(principal)
	req.Operation = kmsg.ACLOperationAny
	req.PermissionType = kmsg.ACLPermissionTypeAllow
	for {
		res, err := cl.SeedBrokers()[0].Request(ctx, req)
		if err == nil {
			acls := res.(*kmsg.DescribeACLsResponse)
			err = kerr.ErrorForCode(acls.ErrorCode)
			known := 0
			for _, r := range acls.Resources {
				known += len(r.ACLs)
			}
			if err == nil && known >= n {
				return nil
			}
			if err == nil {
				err = fmt.Errorf("it knows %d of %d rules", known, n)
			}
		}
		if !b.running() {
			return nil
		}
		if !pause(ctx) {
			return err
		}
	}
}
