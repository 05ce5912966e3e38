// Queries hosts through a server with TLS and prints the updates that are pending on each.
//
//	TENDHOST_TOKEN=… go run . -server updates.example.org:50051 -ca /path/to/ca.pem web1 web2
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	tendhost "example.org/tendhost-example/stubs/tendhost/v1"
)

// token is sent with each call, and with encrypted ones only.
type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

func (token) RequireTransportSecurity() bool { return true }

func main() {
	server := flag.String("server", "localhost:50051", "`address` of the server")
	ca := flag.String("ca", "ca.pem", "`file` with the certificate of the server's CA")
	flag.Parse()
	if err := run(context.Background(), *server, *ca, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", described(err))
		os.Exit(1)
	}
}

func run(ctx context.Context, server, ca string, hosts []string) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New(ca + " holds no certificate")
	}
	connection, err := grpc.NewClient(server,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots})),
		grpc.WithPerRPCCredentials(token(os.Getenv("TENDHOST_TOKEN"))))
	if err != nil {
		return err
	}
	defer connection.Close()
	for _, host := range hosts {
		if err := query(ctx, connection, host); err != nil {
			return err
		}
	}
	return nil
}

func query(ctx context.Context, connection *grpc.ClientConn, name string) error {
	hosts := tendhost.NewHostServiceClient(connection)
	started, err := hosts.StartQuery(ctx, &tendhost.StartQueryRequest{Name: name})
	if err != nil {
		return err
	}
	// A call waits a minute at most, whether the operation has ended or not.
	operations, operation := tendhost.NewOperationServiceClient(connection), started.Operation
	for operation.EndedAt == nil {
		ended, err := operations.WaitOperation(ctx, &tendhost.WaitOperationRequest{Id: operation.Id})
		if err != nil {
			return err
		}
		operation = ended.Operation
	}
	if operation.Problem != nil {
		return fmt.Errorf("%s: %s", operation.Problem.Reason, operation.Problem.Message)
	}
	found, err := hosts.GetInventory(ctx, &tendhost.GetInventoryRequest{Name: name})
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d pending updates\n", name, len(found.Inventory.PendingUpdates))
	return nil
}

// described is the error with its reason, which docs/errors.md lists.
func described(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason + ": " + status.Convert(err).Message()
		}
	}
	return err.Error()
}
