# For the provider kong (kevholditch/kong): a route, and the plugin on it. The configuration is in
# a file of its own, so that a test of this repository can load it; the password is not.
terraform {
  required_providers {
    kong = {
      source  = "kevholditch/kong"
      version = "~> 6.5"
    }
  }
}

provider "kong" {
  kong_admin_uri = "http://localhost:8001"
}

variable "kafka_password" {
  type      = string
  sensitive = true
}

resource "kong_route" "orders" {
  name      = "orders"
  protocols = ["http", "https"]
  methods   = ["POST"]
  paths     = ["/orders"]
}

resource "kong_plugin" "orders" {
  name     = "kafka-upstream"
  route_id = kong_route.orders.id
  config_json = jsonencode(merge(jsondecode(file("${path.module}/kafka-upstream.json")), {
    authentication = {
      strategy  = "sasl"
      mechanism = "SCRAM-SHA-512"
      user      = "orders-gateway"
      password  = var.kafka_password
    }
  }))
}
