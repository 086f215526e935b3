package main

import "bufio"
import "fmt"
import "math"
import "os"
import "sort"
import "strconv"
import "strings"
import "testing"
import "github.com/stretchr/testify/assert"

// What is built for this is what most test programs need.
func TestWarm(t *testing.T) {
	words := strings.Fields(" b a ")
	sort.Strings(words)
	assert.Equal(t, strconv.Itoa(1), fmt.Sprint(math.Floor(1.5)))
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}
