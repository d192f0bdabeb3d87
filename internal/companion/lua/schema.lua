-- Written by "kafka-upstream -companion" of release @RELEASE@, which overwrites it.
--
-- The schema of kafka-upstream. "make docs" writes it from schema/kafka-upstream.json, with what
-- that cannot say.

local function has_message(config)
  local forwarded = config.forward_method == true or config.forward_uri == true
    or config.forward_headers == true or config.forward_body == true
  if forwarded or config.value_format == "body" or config.cloudevents == "binary" or config.cloudevents == "structured" then
    return true
  end
  return nil, "at least one of forward_method, forward_uri, forward_headers and forward_body must be true"
end

-- compiles refuses what cannot be a function. It does not run it.
local function compiles(chunk)
  local ok, err = load(chunk, "=function", "t", {})
  if ok then
    return true
  end
  return nil, "Error parsing function: " .. err
end

return {
  name = "kafka-upstream",
  fields = {
    {
      protocols = {
        type = "set",
        required = true,
        default = {
          "grpc",
          "grpcs",
          "http",
          "https",
        },
        elements = {
          type = "string",
          one_of = {
            "grpc",
            "grpcs",
            "http",
            "https",
          },
        },
        description = "The protocols of the requests that the plugin handles.",
      },
    },
    {
      config = {
        type = "record",
        required = true,
        fields = {
          {
            bootstrap_servers = {
              type = "set",
              required = true,
              len_min = 1,
              len_max = 128,
              description = "The Kafka brokers to connect to first; any one that answers names the others.",
              elements = {
                type = "record",
                fields = {
                  {
                    host = {
                      type = "string",
                      required = true,
                      len_min = 1,
                      description = "Host name or IP address of the broker, without scheme and port.",
                      len_max = 253,
                      match_none = {
                        {
                          pattern = "[,;]",
                          err = "invalid value: names several brokers: use one element for each",
                        },
                        {
                          pattern = "://",
                          err = "invalid value: must not have a scheme, such as PLAINTEXT://",
                        },
                        {
                          pattern = "[^%w%.%-_:%[%]%%]",
                          err = "invalid value: must be a hostname or an IP",
                        },
                        {
                          pattern = "^[^:]*:%d*$",
                          err = "invalid value: must not have a port: set the field port",
                        },
                        {
                          pattern = "^%[.*%]:%d*$",
                          err = "invalid value: must not have a port: set the field port",
                        },
                        {
                          pattern = "^%[[^%]]*$",
                          err = "invalid value: brackets do not match",
                        },
                        {
                          pattern = "^[^%[].*[%[%]]",
                          err = "invalid value: brackets do not match",
                        },
                        {
                          pattern = "^%]",
                          err = "invalid value: brackets do not match",
                        },
                        {
                          pattern = "^%[.*[%[%]].",
                          err = "invalid value: brackets do not match",
                        },
                        {
                          pattern = "^[^:]*:[^:]*$",
                          err = "invalid value: is not an IPv6 address",
                        },
                        {
                          pattern = "^[^:]*[%[%]%%][^:]*$",
                          err = "invalid value: is not an IPv6 address",
                        },
                        {
                          pattern = "^[^%%]*[g-zG-Z_%-][^%%]*:",
                          err = "invalid value: is not an IPv6 address",
                        },
                        {
                          pattern = "^[^%%]*:[^%%]*[g-zG-Z_%-]",
                          err = "invalid value: is not an IPv6 address",
                        },
                        {
                          pattern = ":::",
                          err = "invalid value: is not an IPv6 address",
                        },
                        {
                          pattern = "::.*::",
                          err = "invalid value: is not an IPv6 address",
                        },
                        {
                          pattern = "^%d+%.?%d*%.?%d*$",
                          err = "invalid value: is not an IPv4 address",
                        },
                        {
                          pattern = "^%d+%.%d+%.%d+%.%d+%.[%d%.]*$",
                          err = "invalid value: is not an IPv4 address",
                        },
                        {
                          pattern = "^%.",
                          err = "invalid value: has an empty part before, between or after dots",
                        },
                        {
                          pattern = "%.%.",
                          err = "invalid value: has an empty part before, between or after dots",
                        },
                        {
                          pattern = "^%-",
                          err = "invalid value: a part of a hostname cannot begin or end with a hyphen",
                        },
                        {
                          pattern = "%-$",
                          err = "invalid value: a part of a hostname cannot begin or end with a hyphen",
                        },
                        {
                          pattern = "%.%-",
                          err = "invalid value: a part of a hostname cannot begin or end with a hyphen",
                        },
                        {
                          pattern = "%-%.",
                          err = "invalid value: a part of a hostname cannot begin or end with a hyphen",
                        },
                      },
                    },
                  },
                  {
                    port = {
                      type = "integer",
                      required = true,
                      between = {
                        0,
                        65535,
                      },
                      description = "TCP port of the broker.",
                    },
                  },
                },
              },
            },
          },
          {
            topic = {
              type = "string",
              required = true,
              len_min = 1,
              len_max = 249,
              match_none = {
                {
                  pattern = "%{[^%}]*%{",
                  err = "invalid value: braces do not match",
                },
                {
                  pattern = "%{[^%}]*$",
                  err = "invalid value: braces do not match",
                },
                {
                  pattern = "^[^%{]*%}",
                  err = "invalid value: braces do not match",
                },
                {
                  pattern = "%}[^%{]*%}",
                  err = "invalid value: braces do not match",
                },
                {
                  pattern = "%{[^%.%}]*%}",
                  err = "invalid value: a placeholder is {SOURCE.NAME}, such as {uri_capture.region}",
                },
                {
                  pattern = "%{%.",
                  err = "invalid value: a placeholder is {SOURCE.NAME}, such as {uri_capture.region}",
                },
                {
                  pattern = "%{[^%.%}]*%.%}",
                  err = "invalid value: a placeholder is {SOURCE.NAME}, such as {uri_capture.region}",
                },
                {
                  pattern = "^[^%{]*[^%w%._%-%{]",
                  err = "invalid value: a topic name consists of letters, digits, '.', '_' and '-'",
                },
                {
                  pattern = "%}[^%{]*[^%w%._%-%{]",
                  err = "invalid value: a topic name consists of letters, digits, '.', '_' and '-'",
                },
                {
                  pattern = "^%.%.?$",
                  err = "invalid value: a topic cannot be named '.' or '..'",
                },
              },
              description = "The topic to write records to; its name consists of letters, digits, '.', '_' and '-'. It may have placeholders such as {uri_capture.region}, which need allowed_topics.",
            },
          },
          {
            topics_query_arg = {
              type = "string",
              len_max = 1024,
              description = "The query argument with a comma-separated list of topics to write to instead of topic.",
            },
          },
          {
            allowed_topics = {
              type = "array",
              len_max = 1000,
              elements = {
                type = "string",
                len_max = 249,
                match_none = {
                  {
                    pattern = "[^%w%._%-]",
                    err = "invalid value: a topic name consists of letters, digits, '.', '_' and '-'",
                  },
                  {
                    pattern = "^%.%.?$",
                    err = "invalid value: a topic cannot be named '.' or '..'",
                  },
                },
              },
              description = "The topics that topics_query_arg and the placeholders in topic may choose.",
            },
          },
          {
            key_query_arg = {
              type = "string",
              len_max = 1024,
              description = "The query argument whose value is the record's key.",
            },
          },
          {
            record_key = {
              type = "record",
              required = false,
              default = {},
              description = "What the record's key is made of.",
              fields = {
                {
                  parts = {
                    type = "array",
                    len_max = 16,
                    elements = {
                      type = "record",
                      fields = {
                        {
                          from = {
                            type = "string",
                            required = true,
                            one_of = {
                              "query_arg",
                              "header",
                              "body",
                              "consumer",
                              "uri_capture",
                              "constant",
                            },
                            description = "Where the part comes from.",
                          },
                        },
                        {
                          name = {
                            type = "string",
                            required = true,
                            len_max = 1024,
                            description = "The name of the argument or header; for body, a JSON pointer or the name of a form field; for consumer, id, username or custom_id; for uri_capture, the name or number of a capture; for constant, the text itself.",
                          },
                        },
                      },
                      entity_checks = {
                        {
                          conditional = {
                            if_field = "from",
                            if_match = {
                              eq = "consumer",
                            },
                            then_field = "name",
                            then_match = {
                              one_of = {
                                "id",
                                "username",
                                "custom_id",
                              },
                            },
                            then_err = "name must be id, username or custom_id when from is consumer",
                          },
                        },
                      },
                    },
                    description = "The parts of the key, in their order. Cannot be used with key_query_arg.",
                  },
                },
                {
                  separator = {
                    type = "string",
                    default = "|",
                    len_min = 0,
                    len_max = 64,
                    description = "What stands between the parts.",
                  },
                },
                {
                  required = {
                    type = "boolean",
                    default = false,
                    description = "Whether a request that lacks a part is answered 400; otherwise its record has no key.",
                  },
                },
              },
            },
          },
          {
            partitioner = {
              type = "string",
              default = "crc32",
              one_of = {
                "crc32",
                "murmur2",
                "sticky",
              },
              description = "How a key chooses the partition: crc32 as in Kong's own plugin and librdkafka's consistent, murmur2 as in Kafka's Java client; with sticky it does not.",
            },
          },
          {
            timeout = {
              type = "integer",
              default = 10000,
              between = {
                1,
                86400000,
              },
              description = "Timeout of each step with a broker (connecting, sending a request, receiving its response), in milliseconds.",
            },
          },
          {
            keepalive = {
              type = "integer",
              default = 60000,
              between = {
                0,
                86400000,
              },
              description = "How long an idle connection to a broker is kept open if keepalive_enabled is true, in milliseconds.",
            },
          },
          {
            keepalive_enabled = {
              type = "boolean",
              default = false,
              description = "Whether idle connections are kept open for keepalive; otherwise they are closed after ten seconds.",
            },
          },
          {
            authentication = {
              type = "record",
              required = false,
              default = {},
              description = "How to authenticate to the brokers.",
              fields = {
                {
                  strategy = {
                    type = "string",
                    one_of = {
                      "sasl",
                    },
                    description = "The kind of authentication: sasl, or unset for none.",
                  },
                },
                {
                  mechanism = {
                    type = "string",
                    one_of = {
                      "PLAIN",
                      "SCRAM-SHA-256",
                      "SCRAM-SHA-512",
                      "OAUTHBEARER",
                      "AWS_MSK_IAM",
                    },
                    description = "The SASL mechanism.",
                  },
                },
                {
                  user = {
                    type = "string",
                    len_max = 4096,
                    referenceable = true,
                    encrypted = true,
                    description = "The SASL user, or the ID of a delegation token.",
                  },
                },
                {
                  password = {
                    type = "string",
                    len_max = 65536,
                    referenceable = true,
                    encrypted = true,
                    description = "The SASL password, or the HMAC of a delegation token.",
                  },
                },
                {
                  tokenauth = {
                    type = "boolean",
                    default = false,
                    description = "Whether user and password are the ID and the HMAC of a delegation token (SCRAM only).",
                  },
                },
                {
                  oauthbearer = {
                    type = "record",
                    required = false,
                    description = "Where the access tokens for the mechanism OAUTHBEARER come from, and what is sent with them.",
                    fields = {
                      {
                        token_endpoint_url = {
                          type = "string",
                          len_max = 4096,
                          referenceable = true,
                          description = "The URL of the token endpoint, http or https. The grant type is client_credentials.",
                        },
                      },
                      {
                        client_id = {
                          type = "string",
                          len_max = 4096,
                          referenceable = true,
                          description = "The ID of the OAuth client.",
                        },
                      },
                      {
                        client_secret = {
                          type = "string",
                          len_max = 65536,
                          referenceable = true,
                          encrypted = true,
                          description = "The secret of the OAuth client.",
                        },
                      },
                      {
                        scopes = {
                          type = "array",
                          len_max = 100,
                          elements = {
                            type = "string",
                            len_max = 4096,
                          },
                          description = "The scopes to request.",
                        },
                      },
                      {
                        extensions = {
                          type = "map",
                          len_max = 100,
                          keys = {
                            type = "string",
                            len_max = 1024,
                            match_all = {
                              {
                                pattern = "^%a+$",
                                err = "must consist of letters",
                              },
                            },
                            match_none = {
                              {
                                pattern = "^auth$",
                                err = "must not be auth, which is the token's own name",
                              },
                            },
                          },
                          values = {
                            type = "string",
                            len_max = 4096,
                            match_all = {
                              {
                                pattern = "^[ -~%s]+$",
                                err = "must consist of printable ASCII characters",
                              },
                            },
                          },
                          description = "SASL extensions to send with the token (KIP-342), such as logicalCluster and identityPoolId. Names consist of letters, values of printable ASCII.",
                        },
                      },
                      {
                        token_endpoint_tls_verify = {
                          type = "boolean",
                          default = true,
                          description = "Whether to verify the token endpoint's certificate.",
                        },
                      },
                      {
                        token_file = {
                          type = "string",
                          len_max = 4096,
                          description = "A file with the access token, instead of a token endpoint. It is read at each login, so the token may be replaced, as Kubernetes does with projected tokens.",
                        },
                      },
                    },
                    entity_checks = {
                      {
                        mutually_exclusive = {
                          "token_endpoint_url",
                          "token_file",
                        },
                      },
                    },
                  },
                },
                {
                  aws = {
                    type = "record",
                    required = false,
                    description = "Where the mechanism AWS_MSK_IAM gets its credentials: keys, a web identity, a container endpoint or, without any of these, the instance's role.",
                    fields = {
                      {
                        region = {
                          type = "string",
                          len_max = 4096,
                          referenceable = true,
                          description = "The cluster's AWS region, if the host names in bootstrap_servers do not contain it.",
                        },
                      },
                      {
                        access_key_id = {
                          type = "string",
                          len_max = 4096,
                          referenceable = true,
                          encrypted = true,
                          description = "The access key ID of a user or of a session.",
                        },
                      },
                      {
                        secret_access_key = {
                          type = "string",
                          len_max = 4096,
                          referenceable = true,
                          encrypted = true,
                          description = "The secret access key.",
                        },
                      },
                      {
                        session_token = {
                          type = "string",
                          len_max = 65536,
                          referenceable = true,
                          encrypted = true,
                          description = "The session token of temporary keys.",
                        },
                      },
                      {
                        role_arn = {
                          type = "string",
                          len_max = 4096,
                          referenceable = true,
                          description = "The ARN of the role to assume with a web identity, as with IRSA.",
                        },
                      },
                      {
                        web_identity_token_file = {
                          type = "string",
                          len_max = 4096,
                          referenceable = true,
                          description = "The file with the web identity token. It is read at each renewal.",
                        },
                      },
                      {
                        role_session_name = {
                          type = "string",
                          len_max = 4096,
                          referenceable = true,
                          description = "The session name for role_arn; unset means kafka-upstream.",
                        },
                      },
                      {
                        container_credentials_uri = {
                          type = "string",
                          len_max = 4096,
                          referenceable = true,
                          description = "Where a container gets its credentials: a path on the ECS endpoint, or a URL of EKS Pod Identity or of this machine.",
                        },
                      },
                      {
                        container_authorization_token_file = {
                          type = "string",
                          len_max = 4096,
                          referenceable = true,
                          description = "The file with the token for container_credentials_uri. It is read at each renewal.",
                        },
                      },
                    },
                    entity_checks = {
                      {
                        mutually_exclusive = {
                          "access_key_id",
                          "role_arn",
                          "container_credentials_uri",
                        },
                      },
                      {
                        conditional = {
                          if_field = "access_key_id",
                          if_match = {
                            ne = ngx.null,
                          },
                          then_field = "secret_access_key",
                          then_match = {
                            ne = ngx.null,
                          },
                          then_err = "secret_access_key is required when access_key_id is set",
                        },
                      },
                      {
                        conditional = {
                          if_field = "secret_access_key",
                          if_match = {
                            ne = ngx.null,
                          },
                          then_field = "access_key_id",
                          then_match = {
                            ne = ngx.null,
                          },
                          then_err = "access_key_id is required when secret_access_key is set",
                        },
                      },
                      {
                        conditional = {
                          if_field = "session_token",
                          if_match = {
                            ne = ngx.null,
                          },
                          then_field = "access_key_id",
                          then_match = {
                            ne = ngx.null,
                          },
                          then_err = "access_key_id is required when session_token is set",
                        },
                      },
                      {
                        conditional = {
                          if_field = "role_arn",
                          if_match = {
                            ne = ngx.null,
                          },
                          then_field = "web_identity_token_file",
                          then_match = {
                            ne = ngx.null,
                          },
                          then_err = "web_identity_token_file is required when role_arn is set",
                        },
                      },
                      {
                        conditional = {
                          if_field = "web_identity_token_file",
                          if_match = {
                            ne = ngx.null,
                          },
                          then_field = "role_arn",
                          then_match = {
                            ne = ngx.null,
                          },
                          then_err = "role_arn is required when web_identity_token_file is set",
                        },
                      },
                      {
                        conditional = {
                          if_field = "role_session_name",
                          if_match = {
                            ne = ngx.null,
                          },
                          then_field = "role_arn",
                          then_match = {
                            ne = ngx.null,
                          },
                          then_err = "role_arn is required when role_session_name is set",
                        },
                      },
                      {
                        conditional = {
                          if_field = "container_authorization_token_file",
                          if_match = {
                            ne = ngx.null,
                          },
                          then_field = "container_credentials_uri",
                          then_match = {
                            ne = ngx.null,
                          },
                          then_err = "container_credentials_uri is required when container_authorization_token_file is set",
                        },
                      },
                    },
                  },
                },
              },
              entity_checks = {
                {
                  conditional = {
                    if_field = "strategy",
                    if_match = {
                      eq = "sasl",
                    },
                    then_field = "mechanism",
                    then_match = {
                      ne = ngx.null,
                    },
                    then_err = "mechanism is required when strategy is sasl",
                  },
                },
                {
                  conditional = {
                    if_field = "mechanism",
                    if_match = {
                      ne = ngx.null,
                      one_of = {
                        "PLAIN",
                        "SCRAM-SHA-256",
                        "SCRAM-SHA-512",
                      },
                    },
                    then_field = "user",
                    then_match = {
                      ne = ngx.null,
                    },
                    then_err = "user is required when mechanism is PLAIN or SCRAM",
                  },
                },
                {
                  conditional = {
                    if_field = "mechanism",
                    if_match = {
                      ne = ngx.null,
                      one_of = {
                        "PLAIN",
                        "SCRAM-SHA-256",
                        "SCRAM-SHA-512",
                      },
                    },
                    then_field = "password",
                    then_match = {
                      ne = ngx.null,
                    },
                    then_err = "password is required when mechanism is PLAIN or SCRAM",
                  },
                },
                {
                  conditional = {
                    if_field = "tokenauth",
                    if_match = {
                      eq = true,
                    },
                    then_field = "mechanism",
                    then_match = {
                      ne = ngx.null,
                      one_of = {
                        "SCRAM-SHA-256",
                        "SCRAM-SHA-512",
                      },
                    },
                    then_err = "tokenauth is only valid with a SCRAM mechanism",
                  },
                },
              },
            },
          },
          {
            security = {
              type = "record",
              required = false,
              default = {},
              description = "TLS for connections to the brokers.",
              fields = {
                {
                  ssl = {
                    type = "boolean",
                    default = false,
                    description = "Whether to use TLS.",
                  },
                },
                {
                  ssl_verify = {
                    type = "boolean",
                    default = true,
                    description = "Whether to verify the brokers' certificates and host names.",
                  },
                },
                {
                  certificate_id = {
                    type = "string",
                    uuid = true,
                    description = "The ID of the Kong certificate to present to the brokers (mTLS).",
                  },
                },
              },
              entity_checks = {
                {
                  conditional = {
                    if_field = "certificate_id",
                    if_match = {
                      ne = ngx.null,
                    },
                    then_field = "ssl",
                    then_match = {
                      ne = ngx.null,
                      eq = true,
                    },
                    then_err = "ssl must be true when certificate_id is set",
                  },
                },
              },
            },
          },
          {
            cluster_name = {
              type = "string",
              len_max = 1024,
              auto = true,
              description = "A name for the Kafka cluster. It is accepted for compatibility with Kong's own plugin and has no effect.",
            },
          },
          {
            forward_method = {
              type = "boolean",
              default = false,
              description = "Whether the message contains the request's method. At least one forward_* field must be true.",
            },
          },
          {
            forward_uri = {
              type = "boolean",
              default = false,
              description = "Whether the message contains the request's URI and its query arguments.",
            },
          },
          {
            forward_headers = {
              type = "boolean",
              default = false,
              description = "Whether the message contains the request's headers.",
            },
          },
          {
            forward_body = {
              type = "boolean",
              default = true,
              description = "Whether the message contains the request's body and the arguments parsed from it.",
            },
          },
          {
            exclude_headers = {
              type = "array",
              len_max = 1000,
              elements = {
                type = "string",
                len_max = 1024,
              },
              description = "Headers to leave out of the message, such as authorization and cookie. Case does not matter.",
            },
          },
          {
            message_by_lua_functions = {
              type = "array",
              len_max = 100,
              elements = {
                type = "string",
                len_max = 1048576,
                custom_validator = compiles,
              },
              description = "Lua chunks, each of which returns a function that takes the message and returns it changed. The result of the last function is the record's value.",
            },
          },
          {
            value_format = {
              type = "string",
              default = "message",
              one_of = {
                "message",
                "body",
              },
              description = "The record's value: message is a JSON object of the parts that the forward_* fields choose, body is the request's body, byte for byte.",
            },
          },
          {
            tombstones = {
              type = "boolean",
              default = false,
              description = "Whether an empty body makes a record with a null value; needs value_format body.",
            },
          },
          {
            split = {
              type = "string",
              default = "none",
              one_of = {
                "none",
                "json_array",
                "ndjson",
              },
              description = "Whether each element of the body becomes a record of its own: of a JSON array (json_array), or each line of newline-delimited JSON (ndjson).",
            },
          },
          {
            split_limit = {
              type = "integer",
              default = 1000,
              between = {
                1,
                10000,
              },
              description = "The maximum number of records that one body is split into; a body with more is answered 413.",
            },
          },
          {
            headers = {
              type = "record",
              required = false,
              default = {},
              description = "Which headers of the request become headers of the record.",
              fields = {
                {
                  forward_http_headers_as_record_headers = {
                    type = "boolean",
                    default = true,
                    description = "The main switch: whether headers of the request become headers of the record at all.",
                  },
                },
                {
                  forward_all_by_default = {
                    type = "boolean",
                    default = false,
                    description = "Whether all headers except exclude_headers become record headers; otherwise only include_headers do.",
                  },
                },
                {
                  include_headers = {
                    type = "array",
                    len_max = 1000,
                    default = {},
                    elements = {
                      type = "string",
                      len_max = 1024,
                    },
                    description = "The headers that become record headers if forward_all_by_default is false. Case does not matter.",
                  },
                },
                {
                  exclude_headers = {
                    type = "array",
                    len_max = 1000,
                    default = {},
                    elements = {
                      type = "string",
                      len_max = 1024,
                    },
                    description = "The headers that do not become record headers if forward_all_by_default is true. Case does not matter.",
                  },
                },
                {
                  name_mappings = {
                    type = "map",
                    len_max = 100,
                    default = {},
                    keys = {
                      type = "string",
                      len_max = 1024,
                    },
                    values = {
                      type = "string",
                      len_max = 1024,
                    },
                    description = "The names of record headers, by the names of request headers. Without an entry it is the header's name in lower case.",
                  },
                },
                {
                  repeated_headers_behavior = {
                    type = "string",
                    default = "retain_duplicates",
                    one_of = {
                      "retain_duplicates",
                      "concatenate_by_comma",
                      "take_first",
                    },
                    description = "How a repeated header is forwarded: as a record header for each value, as one with the values joined by commas, or as one with the first value.",
                  },
                },
              },
            },
          },
          {
            trace_headers = {
              type = "boolean",
              default = false,
              description = "Whether traceparent, tracestate and baggage become record headers. If the request has no valid traceparent, a new one is made.",
            },
          },
          {
            timestamp_header = {
              type = "string",
              len_max = 1024,
              description = "The header with the record's timestamp: seconds or milliseconds since 1970, or RFC 3339. Without it, the timestamp is the time at which the request arrived.",
            },
          },
          {
            cloudevents = {
              type = "string",
              default = "off",
              one_of = {
                "off",
                "binary",
                "structured",
              },
              description = "Whether records are CloudEvents, by the Kafka protocol binding, and in which content mode. Their data is the body, so forward_* has no effect.",
            },
          },
          {
            cloudevents_source = {
              type = "string",
              len_max = 1024,
              description = "The source attribute of events made of requests that are not events themselves.",
            },
          },
          {
            cloudevents_type = {
              type = "string",
              len_max = 1024,
              description = "The type attribute of events made of requests that are not events themselves.",
            },
          },
          {
            response = {
              type = "record",
              required = false,
              default = {},
              description = "The answer to the client of a request that succeeded.",
              fields = {
                {
                  metadata = {
                    type = "boolean",
                    default = false,
                    description = "Whether the answer has the topic, partition and offset of each record; needs producer_async false.",
                  },
                },
                {
                  status = {
                    type = "integer",
                    default = 200,
                    one_of = {
                      200,
                      201,
                      202,
                      204,
                    },
                    description = "The HTTP status of success. 204 has no body.",
                  },
                },
              },
              entity_checks = {
                {
                  conditional = {
                    if_field = "metadata",
                    if_match = {
                      eq = true,
                    },
                    then_field = "status",
                    then_match = {
                      ne = 204,
                    },
                    then_err = "response.metadata cannot be used with response.status 204, which has no body",
                  },
                },
              },
            },
          },
          {
            error_handling = {
              type = "record",
              required = false,
              default = {},
              description = "The answer to the client of a request that failed.",
              fields = {
                {
                  return_error_message = {
                    type = "boolean",
                    default = false,
                    description = "Whether answers with status 500, 502 or 503 contain the cause, such as the error of a broker or of a function. It may name brokers, topics and files, so this is for trusted clients only.",
                  },
                },
              },
            },
          },
          {
            producer_request_acks = {
              type = "integer",
              default = 1,
              one_of = {
                -1,
                0,
                1,
              },
              description = "Who must acknowledge a record: 0 nobody, 1 the partition leader, -1 all in-sync replicas.",
            },
          },
          {
            producer_idempotent = {
              type = "boolean",
              description = "Whether brokers write each batch once, however often it is sent. Unless set, they do with producer_request_acks -1, which it needs.",
            },
          },
          {
            producer_request_timeout = {
              type = "integer",
              default = 2000,
              between = {
                1,
                86400000,
              },
              description = "How long a broker may wait for the acknowledgements of a produce request, in milliseconds.",
            },
          },
          {
            producer_request_limits_messages_per_request = {
              type = "integer",
              default = 200,
              between = {
                1,
                10000,
              },
              description = "The maximum number of records in a produce request's batch.",
            },
          },
          {
            producer_request_limits_bytes_per_request = {
              type = "integer",
              default = 1048576,
              between = {
                1024,
                104857600,
              },
              description = "The maximum size of a produce request's batch, in bytes; a request whose record alone is larger is answered 413.",
            },
          },
          {
            compression_type = {
              type = "string",
              default = "none",
              one_of = {
                "none",
                "gzip",
                "snappy",
                "lz4",
                "zstd",
              },
              description = "How batches are compressed. Limits in bytes apply before compression.",
            },
          },
          {
            producer_request_retries_max_attempts = {
              type = "integer",
              default = 10,
              between = {
                0,
                1000,
              },
              description = "How many times a produce request is attempted in total; 0 counts as 1.",
            },
          },
          {
            producer_request_retries_backoff_timeout = {
              type = "integer",
              default = 100,
              between = {
                0,
                3600000,
              },
              description = "The pause between two attempts, in milliseconds.",
            },
          },
          {
            producer_async = {
              type = "boolean",
              default = true,
              description = "Whether a request is answered as soon as its record is in the buffer (true), or once the record is acknowledged (false).",
            },
          },
          {
            producer_async_flush_timeout = {
              type = "integer",
              default = 1000,
              between = {
                0,
                3600000,
              },
              description = "How long a record may wait in the buffer for its batch to fill, in milliseconds; asynchronous mode only.",
            },
          },
          {
            producer_async_buffering_limits_messages_in_memory = {
              type = "integer",
              default = 50000,
              between = {
                1,
                10000000,
              },
              description = "The maximum number of records in the buffer; when it is full, requests are answered 503.",
            },
          },
          {
            producer_async_buffering_limits_bytes_in_memory = {
              type = "integer",
              default = 268435456,
              between = {
                1024,
                1099511627776,
              },
              description = "The maximum size of the records in the buffer, in bytes; when it is full, requests are answered 503.",
            },
          },
          {
            producer_async_durable = {
              type = "boolean",
              default = false,
              description = "Whether a request is answered only once its record is on disk (fsync), so that it outlives the process; needs producer_async, and the flag -spool of the plugin server.",
            },
          },
          {
            producer_async_health_gating = {
              type = "boolean",
              default = false,
              description = "Whether requests are answered 503 at once while the brokers cannot be reached, or reject the login or the topic; needs producer_async. Otherwise their records wait in the buffer.",
            },
          },
          {
            producer_async_health_failure_threshold = {
              type = "integer",
              default = 3,
              between = {
                1,
                100,
              },
              description = "How many consecutive failures (no broker reached, login or topic rejected) make the producer unhealthy.",
            },
          },
          {
            producer_async_health_probe_interval = {
              type = "integer",
              default = 5000,
              between = {
                100,
                600000,
              },
              description = "The time between two probes of the brokers while the producer is unhealthy, in milliseconds.",
            },
          },
          {
            producer_async_health_recovery_threshold = {
              type = "integer",
              default = 1,
              between = {
                1,
                100,
              },
              description = "How many consecutive successful probes make the producer healthy again.",
            },
          },
          {
            new_kafka_async_producer = {
              type = "boolean",
              default = false,
              description = "Accepted for compatibility with Kong's own plugin. It has no effect: records without keys are always packed into large batches.",
            },
          },
          {
            schema_registry = {
              type = "record",
              required = false,
              description = "The schema registry with the schemas that validate and encode values and keys.",
              fields = {
                {
                  confluent = {
                    type = "record",
                    required = false,
                    description = "A registry with Confluent's REST API. Without a url no registry is used.",
                    fields = {
                      {
                        url = {
                          type = "string",
                          len_max = 4096,
                          match_none = {
                            {
                              pattern = "^[^/]*//[^/]*@",
                              err = "must not contain a user: use authentication.basic",
                            },
                            {
                              pattern = "[%?#%s]",
                              err = "must not contain a query, a fragment or white space",
                            },
                          },
                          match_all = {
                            {
                              pattern = "^https?://[^/:]",
                              err = "must begin with http:// or https://, and name a host",
                            },
                          },
                          description = "The URL of the registry, which may have a path, such as https://registry:8081 or http://apicurio:8080/apis/ccompat/v7.",
                        },
                      },
                      {
                        ttl = {
                          type = "number",
                          between = {
                            0,
                            3600,
                          },
                          description = "How many seconds pass until the latest version of a schema is fetched again, in the background; unset means 300. Below 1, it is fetched after each use, at most once a second. A numbered version is fetched once.",
                        },
                      },
                      {
                        ssl_verify = {
                          type = "boolean",
                          default = true,
                          description = "Whether to verify the registry's certificate, against the system's authorities and those of -ca-file.",
                        },
                      },
                      {
                        certificate_id = {
                          type = "string",
                          required = false,
                          uuid = true,
                          description = "The ID of the Kong certificate to present to the registry (mTLS). The url must begin with https://.",
                        },
                      },
                      {
                        value_schema = {
                          type = "record",
                          required = false,
                          description = "The schema of the records' values. Without a subject_name they are not encoded.",
                          fields = {
                            {
                              subject_name = {
                                type = "string",
                                len_max = 1024,
                                description = "The subject of the values' schema. If unset, values are not encoded.",
                              },
                            },
                            {
                              schema_version = {
                                type = "string",
                                len_max = 64,
                                match_any = {
                                  patterns = {
                                    "^latest$",
                                    "^[1-9]%d*$",
                                  },
                                  err = "must be the number of a version, or latest",
                                },
                                description = "The schema's version, a number or latest; unset means latest.",
                              },
                            },
                            {
                              payload_encoding = {
                                type = "string",
                                default = "avro_json",
                                one_of = {
                                  "avro_json",
                                  "simple_json",
                                },
                                description = "How the JSON for an Avro schema is written: branches of unions with their names (avro_json) or without (simple_json). Both are accepted, whichever is set.",
                              },
                            },
                          },
                        },
                      },
                      {
                        key_schema = {
                          type = "record",
                          required = false,
                          description = "The schema of the records' keys. Without a subject_name they are not encoded.",
                          fields = {
                            {
                              subject_name = {
                                type = "string",
                                len_max = 1024,
                                description = "The subject of the keys' schema. If unset, keys are not encoded.",
                              },
                            },
                            {
                              schema_version = {
                                type = "string",
                                len_max = 64,
                                match_any = {
                                  patterns = {
                                    "^latest$",
                                    "^[1-9]%d*$",
                                  },
                                  err = "must be the number of a version, or latest",
                                },
                                description = "The schema's version, a number or latest; unset means latest.",
                              },
                            },
                            {
                              payload_encoding = {
                                type = "string",
                                default = "avro_json",
                                one_of = {
                                  "avro_json",
                                  "simple_json",
                                },
                                description = "How the JSON for an Avro schema is written: branches of unions with their names (avro_json) or without (simple_json). Both are accepted, whichever is set.",
                              },
                            },
                          },
                        },
                      },
                      {
                        authentication = {
                          type = "record",
                          required = false,
                          description = "How to authenticate to the registry.",
                          fields = {
                            {
                              mode = {
                                type = "string",
                                default = "none",
                                one_of = {
                                  "none",
                                  "basic",
                                  "oauth2",
                                },
                                description = "How to authenticate to the registry; oauth2 means with an OAuth 2.0 access token.",
                              },
                            },
                            {
                              basic = {
                                type = "record",
                                required = false,
                                description = "The user for mode basic.",
                                fields = {
                                  {
                                    username = {
                                      type = "string",
                                      required = true,
                                      len_max = 4096,
                                      referenceable = true,
                                      encrypted = true,
                                      description = "The user name.",
                                    },
                                  },
                                  {
                                    password = {
                                      type = "string",
                                      required = true,
                                      len_max = 65536,
                                      referenceable = true,
                                      encrypted = true,
                                      description = "The user's password.",
                                    },
                                  },
                                },
                              },
                            },
                            {
                              logical_cluster_id = {
                                type = "string",
                                len_max = 1024,
                                description = "The registry's own ID, sent as the header target-sr-cluster. Confluent Cloud needs it with oauth2.",
                              },
                            },
                            {
                              identity_pool_id = {
                                type = "string",
                                len_max = 1024,
                                description = "The ID of the identity pool, sent as the header Confluent-Identity-Pool-Id.",
                              },
                            },
                            {
                              oauth2 = {
                                type = "record",
                                required = false,
                                description = "The token request for mode oauth2.",
                                fields = {
                                  {
                                    token_endpoint = {
                                      type = "string",
                                      required = true,
                                      len_max = 4096,
                                      description = "The URL of the token endpoint, http or https.",
                                    },
                                  },
                                  {
                                    grant_type = {
                                      type = "string",
                                      default = "client_credentials",
                                      one_of = {
                                        "client_credentials",
                                        "password",
                                      },
                                      description = "The grant type of the token request.",
                                    },
                                  },
                                  {
                                    client_id = {
                                      type = "string",
                                      len_max = 4096,
                                      referenceable = true,
                                      encrypted = true,
                                      description = "The ID of the OAuth client.",
                                    },
                                  },
                                  {
                                    client_secret = {
                                      type = "string",
                                      len_max = 65536,
                                      referenceable = true,
                                      encrypted = true,
                                      description = "The secret of the OAuth client.",
                                    },
                                  },
                                  {
                                    username = {
                                      type = "string",
                                      len_max = 4096,
                                      referenceable = true,
                                      encrypted = true,
                                      description = "The user name, for the grant type password.",
                                    },
                                  },
                                  {
                                    password = {
                                      type = "string",
                                      len_max = 65536,
                                      referenceable = true,
                                      encrypted = true,
                                      description = "The user's password, for the grant type password.",
                                    },
                                  },
                                  {
                                    scopes = {
                                      type = "array",
                                      len_max = 100,
                                      default = {
                                        "openid",
                                      },
                                      elements = {
                                        type = "string",
                                        len_max = 4096,
                                      },
                                      description = "The scopes to request.",
                                    },
                                  },
                                  {
                                    audience = {
                                      type = "array",
                                      len_max = 100,
                                      default = {},
                                      elements = {
                                        type = "string",
                                        len_max = 4096,
                                      },
                                      description = "The audiences to request.",
                                    },
                                  },
                                  {
                                    token_headers = {
                                      type = "map",
                                      len_max = 100,
                                      keys = {
                                        type = "string",
                                        len_max = 1024,
                                      },
                                      values = {
                                        type = "string",
                                        len_max = 65536,
                                        referenceable = true,
                                      },
                                      description = "Additional headers of the token request. Values may be vault references.",
                                    },
                                  },
                                  {
                                    token_post_args = {
                                      type = "map",
                                      len_max = 100,
                                      keys = {
                                        type = "string",
                                        len_max = 1024,
                                      },
                                      values = {
                                        type = "string",
                                        len_max = 65536,
                                        referenceable = true,
                                      },
                                      description = "Additional form fields of the token request. Values may be vault references.",
                                    },
                                  },
                                },
                              },
                            },
                            {
                              oauth2_client = {
                                type = "record",
                                required = false,
                                description = "How the token endpoint is reached.",
                                fields = {
                                  {
                                    auth_method = {
                                      type = "string",
                                      default = "client_secret_post",
                                      one_of = {
                                        "client_secret_basic",
                                        "client_secret_post",
                                        "client_secret_jwt",
                                        "none",
                                      },
                                      description = "How the client authenticates to the token endpoint.",
                                    },
                                  },
                                  {
                                    client_secret_jwt_alg = {
                                      type = "string",
                                      default = "HS512",
                                      one_of = {
                                        "HS256",
                                        "HS512",
                                      },
                                      description = "The signing algorithm of client_secret_jwt.",
                                    },
                                  },
                                  {
                                    http_proxy = {
                                      type = "string",
                                      len_max = 4096,
                                      description = "The proxy for token endpoints with http.",
                                    },
                                  },
                                  {
                                    http_proxy_authorization = {
                                      type = "string",
                                      len_max = 65536,
                                      description = "The Proxy-Authorization header for http_proxy.",
                                    },
                                  },
                                  {
                                    https_proxy = {
                                      type = "string",
                                      len_max = 4096,
                                      description = "The proxy for token endpoints with https.",
                                    },
                                  },
                                  {
                                    https_proxy_authorization = {
                                      type = "string",
                                      len_max = 65536,
                                      description = "The Proxy-Authorization header for https_proxy.",
                                    },
                                  },
                                  {
                                    no_proxy = {
                                      type = "string",
                                      len_max = 4096,
                                      description = "Hosts to reach without a proxy, separated by commas.",
                                    },
                                  },
                                  {
                                    http_version = {
                                      type = "number",
                                      default = 1.1,
                                      one_of = {
                                        1.1,
                                        1.0,
                                      },
                                      description = "The HTTP version to use.",
                                    },
                                  },
                                  {
                                    keep_alive = {
                                      type = "boolean",
                                      default = true,
                                      description = "Whether connections are reused.",
                                    },
                                  },
                                  {
                                    ssl_verify = {
                                      type = "boolean",
                                      default = true,
                                      description = "Whether to verify the token endpoint's certificate.",
                                    },
                                  },
                                  {
                                    timeout = {
                                      type = "integer",
                                      default = 10000,
                                      between = {
                                        0,
                                        2147483646,
                                      },
                                      description = "The timeout of a token request, in milliseconds; 0 means 10000.",
                                    },
                                  },
                                },
                              },
                            },
                          },
                          entity_checks = {
                            {
                              conditional = {
                                if_field = "mode",
                                if_match = {
                                  eq = "basic",
                                },
                                then_field = "basic.username",
                                then_match = {
                                  ne = ngx.null,
                                },
                                then_err = "basic is required when mode is basic",
                              },
                            },
                            {
                              conditional = {
                                if_field = "mode",
                                if_match = {
                                  eq = "oauth2",
                                },
                                then_field = "oauth2.token_endpoint",
                                then_match = {
                                  ne = ngx.null,
                                },
                                then_err = "oauth2 is required when mode is oauth2",
                              },
                            },
                          },
                        },
                      },
                    },
                    entity_checks = {
                      {
                        conditional_at_least_one_of = {
                          if_field = "url",
                          if_match = {
                            ne = ngx.null,
                          },
                          then_at_least_one_of = {
                            "value_schema.subject_name",
                            "key_schema.subject_name",
                          },
                        },
                      },
                      {
                        conditional = {
                          if_field = "certificate_id",
                          if_match = {
                            ne = ngx.null,
                          },
                          then_field = "url",
                          then_match = {
                            ne = ngx.null,
                            match = "^https://",
                          },
                          then_err = "url must begin with https:// when certificate_id is set",
                        },
                      },
                    },
                  },
                },
              },
            },
          },
        },
        entity_checks = {
          {
            conditional_at_least_one_of = {
              if_field = "authentication.mechanism",
              if_match = {
                eq = "OAUTHBEARER",
              },
              then_at_least_one_of = {
                "authentication.oauthbearer.token_endpoint_url",
                "authentication.oauthbearer.token_file",
              },
              then_err = "must set one of %s when authentication.mechanism is OAUTHBEARER",
            },
          },
          {
            conditional_at_least_one_of = {
              if_field = "authentication.mechanism",
              if_match = {
                eq = "OAUTHBEARER",
              },
              then_at_least_one_of = {
                "authentication.oauthbearer.client_id",
                "authentication.oauthbearer.token_file",
              },
              then_err = "must set one of %s when authentication.mechanism is OAUTHBEARER",
            },
          },
          {
            conditional_at_least_one_of = {
              if_field = "authentication.mechanism",
              if_match = {
                eq = "OAUTHBEARER",
              },
              then_at_least_one_of = {
                "authentication.oauthbearer.client_secret",
                "authentication.oauthbearer.token_file",
              },
              then_err = "must set one of %s when authentication.mechanism is OAUTHBEARER",
            },
          },
          {
            mutually_exclusive = {
              "key_query_arg",
              "record_key.parts",
            },
          },
          {
            conditional = {
              if_field = "authentication.mechanism",
              if_match = {
                eq = "AWS_MSK_IAM",
              },
              then_field = "security.ssl",
              then_match = {
                ne = ngx.null,
                eq = true,
              },
              then_err = "security.ssl must be true when authentication.mechanism is AWS_MSK_IAM",
            },
          },
          {
            conditional = {
              if_field = "topic",
              if_match = {
                match = "%{",
              },
              then_field = "allowed_topics",
              then_match = {
                ne = ngx.null,
                len_min = 1,
              },
              then_err = "allowed_topics must name the topics that the placeholders of topic may lead to",
            },
          },
          {
            conditional = {
              if_field = "value_format",
              if_match = {
                eq = "body",
              },
              then_field = "message_by_lua_functions",
              then_match = {
                len_max = 0,
              },
              then_err = "message_by_lua_functions cannot be used with value_format body",
            },
          },
          {
            conditional = {
              if_field = "cloudevents",
              if_match = {
                one_of = {
                  "binary",
                  "structured",
                },
              },
              then_field = "message_by_lua_functions",
              then_match = {
                len_max = 0,
              },
              then_err = "message_by_lua_functions cannot be used with cloudevents",
            },
          },
          {
            conditional = {
              if_field = "cloudevents",
              if_match = {
                one_of = {
                  "binary",
                  "structured",
                },
              },
              then_field = "schema_registry.confluent.url",
              then_match = {
                eq = ngx.null,
              },
              then_err = "schema_registry cannot be used with cloudevents",
            },
          },
          {
            conditional = {
              if_field = "tombstones",
              if_match = {
                eq = true,
              },
              then_field = "value_format",
              then_match = {
                eq = "body",
              },
              then_err = "value_format must be body when tombstones is true",
            },
          },
          {
            conditional = {
              if_field = "producer_async",
              if_match = {
                ne = false,
              },
              then_field = "response.metadata",
              then_match = {
                ne = true,
              },
              then_err = "producer_async must be false when response.metadata is true",
            },
          },
          {
            conditional = {
              if_field = "producer_async",
              if_match = {
                eq = false,
              },
              then_field = "producer_async_health_gating",
              then_match = {
                ne = true,
              },
              then_err = "producer_async must be true when producer_async_health_gating is true",
            },
          },
          {
            conditional = {
              if_field = "producer_async",
              if_match = {
                eq = false,
              },
              then_field = "producer_async_durable",
              then_match = {
                ne = true,
              },
              then_err = "producer_async must be true when producer_async_durable is true",
            },
          },
          {
            conditional = {
              if_field = "producer_idempotent",
              if_match = {
                eq = true,
              },
              then_field = "producer_request_acks",
              then_match = {
                eq = -1,
              },
              then_err = "producer_request_acks must be -1 when producer_idempotent is true",
            },
          },
          { custom_entity_check = { field_sources = { "forward_method", "forward_uri", "forward_headers", "forward_body", "value_format", "cloudevents" }, fn = has_message } },
        },
      },
    },
  },
}
