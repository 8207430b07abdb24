// What a program does that manages the servers of NGINX Plus, by means of the
// client library which controllers and exporters use.
//
//	plus ENDPOINT GROUP A B C
//
// A line per step goes out, "ok NAME" or "not ok NAME: WHY"; the last line is
// what the library has read of the statistics, as JSON.  The group has no
// servers at the beginning, and A and B in the end.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/nginxinc/nginx-plus-go-client/client"
)

var (
	nginx *client.NginxClient
	group string
)

func main() {
	group = os.Args[2]
	a, b, c := os.Args[3], os.Args[4], os.Args[5]

	var err error
	nginx, err = client.NewNginxClient(
		&http.Client{Timeout: 20 * time.Second}, os.Args[1])
	report("connect", err)
	if err != nil {
		os.Exit(1)
	}

	report("the group exists", nginx.CheckIfUpstreamExists(group))
	refused("no such group", nginx.CheckIfUpstreamExists(group+"x"))
	holds("empty")

	one(a, b)
	bulk(a, b, c)
	statistics()
}

// single servers

func one(a, b string) {
	report("add", nginx.AddHTTPServer(group, server(a)))
	holds("added", a)
	refused("add it again", nginx.AddHTTPServer(group, server(a)))

	full := server(b)
	weight, conns, fails, yes := 7, 8, 9, true
	full.Weight, full.MaxConns, full.MaxFails = &weight, &conns, &fails
	full.Backup, full.Down = &yes, &yes
	full.FailTimeout, full.SlowStart, full.Route = "21s", "10s", "r"
	report("add with all parameters", nginx.AddHTTPServer(group, full))

	servers, err := nginx.GetHTTPServers(group)
	report("read", err)
	for _, s := range servers {
		if s.Server == b {
			full.ID = s.ID
			same("all parameters are kept", s, full)
		}
	}

	report("delete", nginx.DeleteHTTPServer(group, b))
	refused("delete it again", nginx.DeleteHTTPServer(group, b))
	holds("deleted", a)
	report("delete the other", nginx.DeleteHTTPServer(group, a))
}

// lists

func bulk(a, b, c string) {
	update("add", [3]int{2, 0, 0}, server(a), server(b))
	holds("added by a list", a, b)
	update("the same", [3]int{0, 0, 0}, server(a), server(b))

	fails := 5
	changed := server(a)
	changed.MaxFails, changed.FailTimeout = &fails, "30s"
	update("changed", [3]int{0, 0, 1}, changed, server(b))
	update("changed and the same", [3]int{0, 0, 0}, changed, server(b))
	update("replaced", [3]int{1, 1, 0}, changed, server(c))
	holds("replaced by a list", a, c)
	update("emptied", [3]int{0, 2, 0})
	holds("emptied")
	update("filled", [3]int{2, 0, 0}, server(a), server(b))
}

func update(name string, want [3]int, list ...client.UpstreamServer) {
	added, deleted, updated, err := nginx.UpdateHTTPServers(group, list)
	report("list: "+name, err)
	same("list: "+name+", what was done",
		[3]int{len(added), len(deleted), len(updated)}, want)
}

// reading

func statistics() {
	upstreams, err := nginx.GetUpstreams()
	report("groups", err)
	if err == nil {
		_, found := (*upstreams)[group]
		same("the group is one of them", found, true)
	}

	stats, err := nginx.GetStats()
	report("statistics", err)
	text, err := json.Marshal(stats)
	report("statistics as JSON", err)
	fmt.Printf("%s\n", text)
}

func holds(name string, want ...string) {
	servers, err := nginx.GetHTTPServers(group)
	report(name+": read", err)

	var got []string
	for _, s := range servers {
		got = append(got, s.Server)
	}
	same(name+": servers", strings.Join(got, " "), strings.Join(want, " "))
}

func server(address string) client.UpstreamServer {
	return client.UpstreamServer{Server: address}
}

// one step

func report(name string, err error) {
	if err == nil {
		fmt.Printf("ok %s\n", name)
	} else {
		fmt.Printf("not ok %s: %q\n", name, err.Error())
	}
}

func refused(name string, err error) {
	if err == nil {
		fmt.Printf("not ok %s: no error\n", name)
	} else {
		fmt.Printf("ok %s\n", name)
	}
}

func same(name string, got, want interface{}) {
	if reflect.DeepEqual(got, want) {
		fmt.Printf("ok %s\n", name)
	} else {
		fmt.Printf("not ok %s: got %+v, want %+v\n", name, got, want)
	}
}
