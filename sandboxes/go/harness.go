package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
)

func emit(value interface{}) string {
	return emitValue(reflect.ValueOf(value))
}

func emitValue(value reflect.Value) string {
	switch value.Kind() {
	case reflect.Slice:
		items := make([]string, value.Len())
		for i := range items {
			items[i] = emitValue(value.Index(i))
		}
		return "[" + strings.Join(items, ",") + "]"
	case reflect.Int64:
		return "i" + strconv.FormatInt(value.Int(), 10)
	case reflect.Float64:
		return "f" + strconv.FormatFloat(value.Float(), 'g', 17, 64)
	case reflect.Bool:
		if value.Bool() {
			return "b1"
		}
		return "b0"
	default:
		return "s" + hex.EncodeToString([]byte(value.String()))
	}
}

func main() {
	answers := []string{}
%cases%
	nonce, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	fmt.Print("\n" + strings.TrimSpace(nonce) + " " + strings.Join(answers, ";") + "\n")
	os.Exit(0)
}
