package kongpdk

import (
	"errors"
	"fmt"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

// perform does a command that is not an event.
func (s *Server) perform(c *command) (*pb.RpcReturn, error) {
	ret := &pb.RpcReturn{Sequence: c.sequence}
	switch c.kind {
	case cmdStartInstance:
		m := new(pb.CmdStartInstance)
		if err := proto.Unmarshal(c.body, m); err != nil {
			return nil, errCommand
		}
		in := s.start(m)
		id, closed := s.instances.add(in, len(m.Config))
		if len(closed) > 0 {
			s.log.Warn("closing the oldest instances, which exceed their share of the memory limit; Kong starts those that it needs again", "instances", len(closed))
		}
		for _, in := range closed {
			in.close()
		}
		ret.Return = s.status(id, in)

	case cmdGetInstanceStatus:
		m := new(pb.CmdGetInstanceStatus)
		if err := proto.Unmarshal(c.body, m); err != nil {
			return nil, errCommand
		}
		in := s.instances.get(m.InstanceId)
		if in == nil {
			return nil, errUnknownInstance
		}
		ret.Return = s.status(m.InstanceId, in)

	case cmdCloseInstance:
		m := new(pb.CmdCloseInstance)
		if err := proto.Unmarshal(c.body, m); err != nil {
			return nil, errCommand
		}
		in := s.instances.remove(m.InstanceId)
		if in != nil { // else it is closed already
			in.close()
		}
		ret.Return = s.status(m.InstanceId, in)

	case cmdGetPluginNames:
		ret.Return = &pb.RpcReturn_PluginNames{PluginNames: &pb.PluginNames{Names: []string{s.plugin.Name}}}

	case cmdGetPluginInfo:
		ret.Return = &pb.RpcReturn_PluginInfo{PluginInfo: &pb.PluginInfo{
			Name: s.plugin.Name, Phases: []string{phase}, Version: s.plugin.Version,
			Priority: int32(s.plugin.Priority), Schema: string(s.plugin.Schema),
		}}

	default:
		return nil, errors.New("unknown command")
	}
	return ret, nil
}

// start starts an instance. An instance of another plugin is started too, but refuses each
// request: if the connection were closed instead, no log would have the reason.
func (s *Server) start(m *pb.CmdStartInstance) *instance {
	if m.Name == s.plugin.Name {
		return s.open(s.plugin.Start(m.Config))
	}
	err := fmt.Errorf("Kong asked this plugin server for the plugin %.100q, but it serves only %q: see pluginserver_names and the sockets in kong.conf", m.Name, s.plugin.Name)
	s.log.Error("starting an instance of another plugin: its requests are answered 500", "error", err)
	return s.open(s.plugin.Invalid(err))
}

func (s *Server) status(id int32, in *instance) *pb.RpcReturn_InstanceStatus {
	status := &pb.InstanceStatus{Name: s.plugin.Name, InstanceId: id}
	if in != nil {
		status.StartedAt = in.started.Unix()
	}
	return &pb.RpcReturn_InstanceStatus{InstanceStatus: status}
}
