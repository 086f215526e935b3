# Up to 1.19 the standard library comes compiled, and compiler and linker need no build cache.
root=$(go env GOROOT)
library=$root/pkg/$(go env GOOS)_$(go env GOARCH)
[ -f "$library/fmt.a" ] || exec go build -ldflags "-s -w" -o main solution.go main.go
go tool compile -p main -complete -I "$library" -o main.o solution.go main.go &&
  exec go tool link -s -w -L "$library" -o main main.o
