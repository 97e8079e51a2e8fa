// Judges histories of S3 operations by Porcupine, key by key: a second opinion beside tests/linearizability/checker.py.
//
//	go run . [-timeout 10m] FILE…
//
// A FILE has an operation a line, as docs/LINEARIZABILITY.md tells. A line is printed for each: linearizable, NOT
// linearizable with the keys that are not, or unknown with those that took too long. Exit code 0, 1 or 3; 2 where a file
// cannot be read.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// An operation as it is in a file. Times are nanoseconds; a missing value is nothing: no object.
type operation struct {
	Client   int     `json:"client"`
	Key      string  `json:"key"`
	Kind     string  `json:"kind"`
	Value    *string `json:"value"`
	Expected *string `json:"expected"`
	Started  int64   `json:"started_ns"`
	Ended    *int64  `json:"ended_ns"`
	Latest   *int64  `json:"latest_ns"`
}

// What a key has: a value, or nothing.
type register struct {
	isThere bool
	value   string
}

func of(value *string) register {
	if value == nil {
		return register{}
	}
	return register{true, *value}
}

// Whether the operation may have been answered as it was where this is, if it was answered at all.
func (each operation) fits(now register) bool {
	switch each.Kind {
	case "write":
		return true
	case "create":
		return !now.isThere
	case "replace":
		return now.isThere && now == of(each.Expected)
	case "read":
		return now == of(each.Value)
	default: // refused: something was there, and it was not what was expected
		return now.isThere && now != of(each.Expected)
	}
}

// All that may be there after an operation. One of unknown outcome may have had no effect.
func (each operation) step(now register) []register {
	var after []register
	if each.Ended == nil {
		after = append(after, now)
	}
	if each.fits(now) {
		if each.Kind == "read" || each.Kind == "refused" {
			after = append(after, now)
		} else {
			after = append(after, of(each.Value))
		}
	}
	return after
}

var model = (&porcupine.NondeterministicModel{
	Init: func() []interface{} { return []interface{}{register{}} },
	Step: func(state, input, _ interface{}) []interface{} {
		var after []interface{}
		for _, each := range input.(operation).step(state.(register)) {
			after = append(after, each)
		}
		return after
	},
	Equal: func(one, other interface{}) bool { return one == other },
	Hash: func(state interface{}) uint64 {
		hash := fnv.New64a()
		fmt.Fprint(hash, state.(register).isThere, state.(register).value)
		return hash.Sum64()
	},
}).ToModel()

func load(path string) (map[string][]porcupine.Operation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	byKey := map[string][]porcupine.Operation{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		var each operation
		if err := json.Unmarshal(lines.Bytes(), &each); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, number, err)
		}
		switch each.Kind {
		case "write", "create", "replace", "read", "refused":
		default:
			return nil, fmt.Errorf("%s, line %d: unknown kind %q", path, number, each.Kind)
		}
		until := int64(math.MaxInt64)
		if each.Ended != nil {
			until = *each.Ended
		} else if each.Latest != nil {
			until = *each.Latest
		}
		byKey[each.Key] = append(byKey[each.Key], porcupine.Operation{
			ClientId: each.Client, Input: each, Call: each.Started, Return: until,
		})
	}
	return byKey, lines.Err()
}

// The verdict on one file, and the exit code that it asks for.
func judge(byKey map[string][]porcupine.Operation, timeout time.Duration) (string, int) {
	var keys, bad, unknown []string
	for key := range byKey {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	count := 0
	for _, key := range keys {
		count += len(byKey[key])
		switch porcupine.CheckOperationsTimeout(model, byKey[key], timeout) {
		case porcupine.Illegal:
			bad = append(bad, key)
		case porcupine.Unknown:
			unknown = append(unknown, key)
		}
	}
	counted := fmt.Sprintf("%d operations on %d keys", count, len(keys))
	switch {
	case len(bad) > 0:
		return fmt.Sprintf("%s: NOT linearizable: %s", counted, strings.Join(bad, " ")), 1
	case len(unknown) > 0:
		return fmt.Sprintf("%s: unknown: %s", counted, strings.Join(unknown, " ")), 3
	default:
		return counted + ": linearizable", 0
	}
}

func main() {
	timeout := flag.Duration("timeout", 0, "how long to try on one key; 0: to the end")
	flag.Parse()
	code := 0
	for _, path := range flag.Args() {
		byKey, err := load(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		verdict, asked := judge(byKey, *timeout)
		fmt.Printf("%s: %s\n", path, verdict)
		if asked == 1 || code == 0 {
			code = asked
		}
	}
	os.Exit(code)
}
