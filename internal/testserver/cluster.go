package testserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const slots = 16384

// clusterArgs come before those of the test. A node counts as lost after
// cluster-node-timeout, in milliseconds.
var clusterArgs = []string{
	"--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-announce-ip", "127.0.0.1",
	"--cluster-replica-validity-factor", "0", "--cluster-migration-barrier", "1000",
}

// Cluster is a Redis Cluster for one test. Its methods are for the test's own
// goroutine, which they end when the nodes do not do their part; Addrs and
// Servers are safe for concurrent use unless AddReplicas runs.
type Cluster struct {
	t        testing.TB
	args     []string
	password string
	masters  int // that have slots
	servers  []*Server
	killed   []*Server // those of them that KillMaster killed
}

// StartCluster starts a Redis Cluster for this test alone, waits until every
// node serves with all slots covered, and stops it when the test ends. 0
// masters are 3, the fewest with which a replica can take over from a lost
// master; one and two make a cluster, too. The arguments go to all nodes.
//
// It takes two seconds, and a failover three. Without the program the test is
// skipped as with Redis.
func StartCluster(t testing.TB, masters int, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, args: memberArgs(append(slices.Clone(clusterArgs), args...)), password: passwordIn(args), masters: defaultTo(masters, 3)}
	for i := range c.masters {
		c.startNode()
		c.must(i, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		c.must(i, c.slotsOf(i)...)
	}
	for i := range c.masters {
		c.introduce(i)
	}
	c.settle()
	return c
}

// Addrs returns the hosts and ports of all nodes, the first masters first.
func (c *Cluster) Addrs() []string { return addrs(c.servers) }

// Servers returns all nodes. A test may stop, kill and restart them.
func (c *Cluster) Servers() []*Server { return slices.Clone(c.servers) }

// Master returns the host and port of the master that has the slot of the key,
// as the first node that answers tells it.
func (c *Cluster) Master(key string) string {
	c.t.Helper()
	var failures error
	for _, server := range alive(c.servers) {
		addr, err := c.masterOf(server, key)
		if err == nil {
			return addr
		}
		failures = errors.Join(failures, err)
	}
	c.t.Fatalf("testserver: no node answers: %v", failures)
	return ""
}

// AddReplicas starts one replica for each master and waits until all nodes know
// of them.
func (c *Cluster) AddReplicas() {
	c.t.Helper()
	for _, master := range c.owners() {
		id, err := askRedis(master, c.password, func(ctx context.Context, r *redis.Client) (string, error) {
			return r.ClusterMyID(ctx).Result()
		})
		if err != nil {
			c.t.Fatalf("testserver: %v", err)
		}
		c.startNode()
		i := len(c.servers) - 1
		c.introduce(i)
		eventually(c.t, "replica", func() error { return c.ask(i, "CLUSTER", "REPLICATE", id) })
	}
	c.settle()
}

// KillMaster kills the master that has the slot of the key with SIGKILL and
// returns the host and port of the replica that has taken over, as soon as all
// nodes that run know and serve. Without a replica it ends the test.
func (c *Cluster) KillMaster(key string) string {
	c.t.Helper()
	old := serverAt(c.t, c.servers, c.Master(key))
	old.Kill()
	c.killed = append(c.killed, old)
	var master string
	eventually(c.t, "new master", func() (err error) {
		master, err = c.newMaster(key, old.addr)
		return err
	})
	return master
}

// Restart starts what KillMaster killed, which become replicas of the masters
// that took over, and returns when the cluster is complete again.
func (c *Cluster) Restart() {
	c.t.Helper()
	for _, server := range c.killed {
		if err := server.Restart(); err != nil {
			c.t.Fatal(err)
		}
	}
	c.killed = nil
	c.settle()
}

func (c *Cluster) startNode() {
	c.t.Helper()
	c.servers = append(c.servers, private(c.t, redisService, func() (*Server, error) { return startMember("", c.args) }))
}

// slotsOf returns the command that gives a master its share of the slots, in
// the form that versions before 7 know, too.
func (c *Cluster) slotsOf(i int) []any {
	command := []any{"CLUSTER", "ADDSLOTS"}
	for slot := slots * i / c.masters; slot < slots*(i+1)/c.masters; slot++ {
		command = append(command, slot)
	}
	return command
}

// introduce makes the node meet the first one, from which it hears of the rest.
func (c *Cluster) introduce(i int) {
	c.t.Helper()
	if host, port, _ := net.SplitHostPort(c.servers[0].addr); i > 0 {
		c.must(i, "CLUSTER", "MEET", host, port)
	}
}

func (c *Cluster) must(i int, command ...any) {
	c.t.Helper()
	if err := c.ask(i, command...); err != nil {
		c.t.Fatalf("testserver: %v %v: %v", command[0], command[1], err)
	}
}

func (c *Cluster) ask(i int, command ...any) error {
	_, err := askRedis(c.servers[i].addr, c.password, func(ctx context.Context, r *redis.Client) (any, error) {
		return r.Do(ctx, command...).Result()
	})
	return err
}

// owners returns the masters that have slots, each once.
func (c *Cluster) owners() []string {
	c.t.Helper()
	table, err := c.table(c.servers[0])
	if err != nil {
		c.t.Fatalf("testserver: %v", err)
	}
	var list []string
	for _, entry := range table {
		if addr := entry.Nodes[0].Addr; !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	return list
}

// table returns who has which slots, as a node knows it.
func (c *Cluster) table(server *Server) ([]redis.ClusterSlot, error) {
	table, err := askRedis(server.addr, c.password, func(ctx context.Context, r *redis.Client) ([]redis.ClusterSlot, error) {
		return r.ClusterSlots(ctx).Result() //lint:ignore SA1019 versions before 7 know no other
	})
	table = slices.DeleteFunc(table, func(s redis.ClusterSlot) bool { return len(s.Nodes) == 0 })
	slices.SortFunc(table, func(a, b redis.ClusterSlot) int { return cmp.Compare(a.Start, b.Start) })
	return table, err
}

// masterOf returns the master of a key's slot, as a node knows it.
func (c *Cluster) masterOf(server *Server, key string) (string, error) {
	slot, err := askRedis(server.addr, c.password, func(ctx context.Context, r *redis.Client) (int64, error) {
		return r.ClusterKeySlot(ctx, key).Result()
	})
	if err != nil {
		return "", err
	}
	table, err := c.table(server)
	i := slices.IndexFunc(table, func(s redis.ClusterSlot) bool { return s.Start <= int(slot) && int(slot) <= s.End })
	if err != nil || i < 0 {
		return "", errors.Join(err, fmt.Errorf("%s knows no master of slot %d", server.addr, slot))
	}
	return table[i].Nodes[0].Addr, nil
}

// newMaster returns who has the key's slot in place of the old master, when all
// nodes that run agree and serve.
func (c *Cluster) newMaster(key, old string) (string, error) {
	var master string
	for _, server := range alive(c.servers) {
		addr, err := c.masterOf(server, key)
		switch {
		case err != nil:
			return "", err
		case addr == old, master != "" && addr != master:
			return "", fmt.Errorf("%s still believes in %s", server.addr, addr)
		}
		master = addr
		if err := c.serves(server); err != nil {
			return "", err
		}
	}
	return master, nil
}

// serves fails when a node says that the cluster is down or not covered.
func (c *Cluster) serves(server *Server, also ...string) error {
	info, err := askRedis(server.addr, c.password, func(ctx context.Context, r *redis.Client) (string, error) {
		return r.ClusterInfo(ctx).Result()
	})
	lines := strings.Split(info, "\r\n")
	for _, want := range append(also, "cluster_state:ok", fmt.Sprint("cluster_slots_ok:", slots)) {
		if err == nil && !slices.Contains(lines, want) {
			err = fmt.Errorf("%s is not at %s: %s", server.addr, want, strings.Join(lines, " "))
		}
	}
	return err
}

// settle waits until the nodes are all well and of one mind.
func (c *Cluster) settle() {
	c.t.Helper()
	eventually(c.t, "agreement of nodes", func() error {
		var first string
		for _, server := range c.servers {
			view, err := c.view(server)
			if err != nil {
				return err
			}
			if first = cmp.Or(first, view); view != first {
				return fmt.Errorf("%s sees %s, others %s", server.addr, view, first)
			}
		}
		return nil
	})
}

// view returns who has which slots and who replicates whom, as a node knows it,
// and fails when the node does not serve or finds another lost.
func (c *Cluster) view(server *Server) (string, error) {
	if err := isLinked(server.addr, c.password); err != nil {
		return "", err
	}
	if err := c.serves(server, fmt.Sprint("cluster_known_nodes:", len(c.servers))); err != nil {
		return "", err
	}
	nodes, err := askRedis(server.addr, c.password, func(ctx context.Context, r *redis.Client) (string, error) {
		return r.ClusterNodes(ctx).Result()
	})
	if err != nil {
		return "", err
	}
	return viewOf(nodes)
}

// viewOf takes id, address, role, master and slots from each line of CLUSTER
// NODES.
func viewOf(nodes string) (string, error) {
	var view []string
	for line := range strings.Lines(nodes) {
		fields := strings.Fields(line)
		const id, address, flags, master, link, slots = 0, 1, 2, 3, 7, 8
		if len(fields) < slots || fields[link] != "connected" {
			return "", fmt.Errorf("not connected: %s", line)
		}
		role := strings.TrimPrefix(fields[flags], "myself,")
		if role != "master" && role != "slave" {
			return "", fmt.Errorf("not well: %s", line)
		}
		view = append(view, fmt.Sprint(fields[id], fields[address], role, fields[master], fields[slots:]))
	}
	slices.Sort(view)
	return strings.Join(view, "\n"), nil
}
