// Package kongsim is a stand-in for Kong Gateway: Kong's side of the plugin
// server protocol with a small HTTP front, a declarative configuration and an
// Admin API, for tests, benchmarks and the demo.
//
// It is not Kong. It proxies to no service, knows no plugin but the one whose
// binary it starts (or whose socket it dials), has only the fields, the methods
// and the calls of the PDK that this project needs, and says so in the headers
// Server and Via. What the door depends on it does as Kong 3.9.1 does it: the
// frames, the order of START, CLOSE and events, the retries without limit, the
// replies of the PDK, what is refused of a plugin's dump and schema. Where it
// refuses a configuration, it names the path of the field in Kong's words. Consumers and
// credentials are no entities of it: Options.Facts says what each request has.
//
// [Start] gives a whole gateway. A [Worker] with an [Answerer] (such as
// [Replay], which answers with the bytes that a genuine Kong answered) runs one
// event against a plugin server's socket without any HTTP.
package kongsim
