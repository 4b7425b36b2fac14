package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/auth"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
)

func newAuthCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Make keys and tokens, check tokens, list permissions",
		Long:  "Make keys and tokens by which servers know their callers, and check tokens.\ndocs/security.md says how they are used.",
	}
	cmd.AddCommand(newAuthKeysCommand(env), newAuthTokenCommand(env), newAuthValidateCommand(env), newAuthAPIKeyCommand(env),
		newAuthHashCommand(env), newAuthPermissionsCommand(env))
	return cmd
}

func newAuthKeysCommand(env Env) *cobra.Command {
	var algorithm string
	cmd := &cobra.Command{
		Use: "generate-keys DIRECTORY", Short: "Write a new pair of keys for tokens: private.pem and public.pem", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			private, public, err := signingkey.Generate(algorithm)
			if err != nil {
				return usage(err)
			}
			for _, f := range []struct {
				name    string
				content []byte
				mode    os.FileMode
			}{{"private.pem", private, 0o600}, {"public.pem", public, 0o644}} {
				path := filepath.Join(args[0], f.name)
				if err := writeNew(path, f.content, f.mode); err != nil {
					return &ExitError{Code: ExitIO, Err: err}
				}
				fmt.Fprintln(env.Stdout, path)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&algorithm, "algorithm", signingkey.EdDSA, "EdDSA (Ed25519) or RS256 (RSA)")
	return cmd
}

// writeNew writes a file that must not exist yet.
func writeNew(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write a key: %w", err)
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// serverAuth finds what a server is configured with.
type serverAuth struct {
	env    Env
	worker bool
}

func (s *serverAuth) flag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.worker, "worker", false, "go by worker.system.web.auth, not by orchestration.system.web.auth")
}

func (s *serverAuth) load() (*config.Auth, error) {
	opts := config.Options{LookupEnv: s.env.LookupEnv}
	if s.worker {
		cfg, err := config.LoadForWorker(opts)
		if err != nil {
			return nil, err
		}
		w := cfg.Worker.System.Web.Auth
		return &config.Auth{APIKeyHeader: w.APIKeyHeader, Credentials: w.Credentials}, nil
	}
	cfg, err := config.LoadForOrchestration(opts)
	if err != nil {
		return nil, err
	}
	return &cfg.Orchestration.System.Web.Auth, nil
}

func newAuthTokenCommand(env Env) *cobra.Command {
	s := &serverAuth{env: env}
	var grant auth.Grant
	var keyFile string
	cmd := &cobra.Command{
		Use: "generate-token", Short: "Print a token, signed with jwt_private_key", Args: cobra.NoArgs,
		Example: "  tasker-cli auth generate-token --subject ann --permissions tasks:read,tasks:list",
		RunE: func(*cobra.Command, []string) error {
			cfg, err := s.load()
			if err != nil {
				return err
			}
			if keyFile != "" {
				content, err := os.ReadFile(keyFile)
				if err != nil {
					return &ExitError{Code: ExitIO, Err: fmt.Errorf("read the private key: %w", err)}
				}
				cfg.JWTPrivateKey = string(content)
			}
			if grant.Expiry == 0 {
				grant.Expiry = cfg.JWTTokenExpiry.Duration()
			}
			if cfg.JWTPrivateKey == "" {
				return withHint(usage(errors.New("there is no key to sign with")), "set jwt_private_key, or give --private-key FILE")
			}
			token, err := auth.Issue(&cfg.Credentials, grant)
			if err != nil {
				return usage(err)
			}
			fmt.Fprintln(env.Stdout, token)
			return nil
		},
	}
	s.flag(cmd)
	cmd.Flags().StringVar(&grant.Subject, "subject", "", "who the token is for (required)")
	cmd.Flags().StringSliceVar(&grant.Permissions, "permissions", nil, "what its holder may do; resource:* is everything with a resource")
	cmd.Flags().StringSliceVar(&grant.Roles, "roles", nil, "roles of its holder")
	cmd.Flags().DurationVar(&grant.Expiry, "expires-in", 0, "how long it is good (default: jwt_token_expiry_hours)")
	cmd.Flags().StringVar(&keyFile, "private-key", "", "PEM file of the key, in place of jwt_private_key")
	return cmd
}

// secretArgument reads a secret from standard input, where no other process sees it.
func secretArgument(env Env) (string, error) {
	content, err := io.ReadAll(io.LimitReader(env.Stdin, 64<<10))
	if err != nil {
		return "", &ExitError{Code: ExitIO, Err: fmt.Errorf("read standard input: %w", err)}
	}
	return strings.TrimSpace(string(content)), nil
}

func newAuthValidateCommand(env Env) *cobra.Command {
	s := &serverAuth{env: env}
	cmd := &cobra.Command{
		Use: "validate-token", Short: "Check a token from standard input as a server would, and print what it grants", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load()
			if err != nil {
				return err
			}
			known, err := auth.New(cfg, nil, slog.New(slog.NewTextHandler(env.Stderr, nil)))
			if err != nil {
				return err
			}
			token, err := secretArgument(env)
			if err != nil {
				return err
			}
			caller, err := known.CheckToken(cmd.Context(), token)
			if err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "subject      %s\n", caller.Subject)
			for _, p := range caller.Granted {
				fmt.Fprintf(env.Stdout, "permission   %s\n", p)
			}
			return nil
		},
	}
	s.flag(cmd)
	return cmd
}

func newAuthAPIKeyCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use: "generate-api-key", Short: "Print a new API key and its hash for api_keys", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key := auth.GenerateAPIKey()
			hash, err := auth.HashAPIKey(key)
			if err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "key        %s\nkey_hash   %s\n", key, hash)
			return nil
		},
	}
}

func newAuthHashCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use: "hash-key", Short: "Print the hash of an API key from standard input, for api_keys", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key, err := secretArgument(env)
			if err != nil {
				return err
			}
			hash, err := auth.HashAPIKey(key)
			if err != nil {
				return usage(err)
			}
			fmt.Fprintln(env.Stdout, hash)
			return nil
		},
	}
}

func newAuthPermissionsCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use: "show-permissions", Short: "List all permissions", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			for _, p := range permission.All() {
				fmt.Fprintln(env.Stdout, p)
			}
			return nil
		},
	}
}
