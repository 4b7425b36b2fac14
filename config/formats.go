package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// formats are the rules for strings that the format tags of the fields name.
var formats = map[string]tomltree.Format{
	"database-url": {
		Code: "bad-url", Message: "is no database URL", Fits: isDatabaseURL,
		Fix:     "write postgresql://user:password@host:5432/name",
		Pattern: `^postgres(ql)?://\S+$`,
	},
	"broker-url": {
		Code: "bad-url", Message: "is no URL of a RabbitMQ broker", Fits: isBrokerURL,
		Fix:     "write amqp://user:password@host:5672/vhost, or amqps://",
		Pattern: `^amqps?://\S+$`,
	},
	"http-url": {
		Code: "bad-url", Message: "is no http or https URL", Fits: isHTTPURL,
		Fix:     "write http://host:port, or leave it empty to export nothing",
		Pattern: `^(https?://.+)?$`,
	},
	"address": {
		Code: "bad-address", Message: "is no address", Fits: isAddress,
		Fix:     "write host:port, :port or [ipv6]:port",
		Pattern: `:[0-9]{1,5}$`,
	},
	"namespace": {
		Code: "bad-name", Message: "has other characters than a to z, 0 to 9 and _", Fits: isQueueName,
		Fix:     "use a to z, 0 to 9 and _ only: queues are named by it",
		Pattern: `^[a-z0-9_]+$`,
	},
	"queue": {
		Code: "X12", Message: "has other characters than a to z, 0 to 9 and _", Fits: isQueueName,
		Fix:     "use a to z, 0 to 9 and _ only: a table is named by it",
		Pattern: `^[a-z0-9_]+$`,
	},
	"queue-pattern": {
		Code: "X22", Message: "is no pattern of queue names", Fits: isQueuePattern,
		Fix:     "write {namespace} and {name} once each, and no other braces",
		Pattern: `\{name`,
	},
	"header": {
		Code: "bad-name", Message: "is no name of an HTTP header", Fits: isHeaderName,
		Fix: "use letters, digits and -, as in X-API-Key",
	},
	"key-hash": {
		Code: "X11", Message: "is no hash of a key", Fits: isKeyHash,
		Fix:     "write what tasker-cli auth hash-key prints: sha256: and 64 digits, 0 to 9 and a to f",
		Pattern: `^(sha256:[0-9a-f]{64})?$`,
	},
	"pem": {
		Code: "X11", Message: "is no PEM block", Fits: isPEM,
		Fix: "write the key with its first line, which starts with -----BEGIN",
	},
}

// isDatabaseURL reports whether text has the form of a PostgreSQL URL. The
// driver, which knows sockets and several hosts, judges the rest.
func isDatabaseURL(text string) bool {
	rest, ok := strings.CutPrefix(text, "postgresql://")
	if !ok {
		rest, ok = strings.CutPrefix(text, "postgres://")
	}
	return ok && rest != "" && !strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// isBrokerURL reports whether text is such a URL.
func isBrokerURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "amqp" || u.Scheme == "amqps") && u.Host != ""
}

// isHTTPURL reports whether text is such a URL, or empty.
func isHTTPURL(text string) bool {
	u, err := url.Parse(text)
	return text == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// isAddress reports whether a server can listen at text.
func isAddress(text string) bool {
	_, port, err := net.SplitHostPort(text)
	n, atoiErr := strconv.Atoi(port)
	return err == nil && atoiErr == nil && 0 <= n && n <= 65535
}

// isQueueName reports whether text can be part of a PGMQ table name.
func isQueueName(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

// isQueuePattern applies X22.
func isQueuePattern(text string) bool {
	rest := strings.Replace(text, "{namespace}", "", 1)
	rest = strings.Replace(rest, "{name}", "", 1)
	return len(rest) == len(text)-len("{namespace}{name}") && !strings.ContainsAny(rest, "{}")
}

// isHeaderName reports whether text is a token, RFC 9110 section 5.6.2.
func isHeaderName(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// isKeyHash reports whether text is the hash of an API key, or empty.
func isKeyHash(text string) bool {
	digits, ok := strings.CutPrefix(text, "sha256:")
	raw, err := hex.DecodeString(digits)
	return text == "" || ok && err == nil && len(raw) == sha256.Size && digits == strings.ToLower(digits)
}

// isPEM reports whether text is a PEM block, or empty.
func isPEM(text string) bool {
	block, _ := pem.Decode([]byte(text))
	return text == "" || block != nil
}
