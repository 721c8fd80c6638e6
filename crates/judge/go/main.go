// Program client uses an API server as controllers written with client-go do, and says of each use whether it worked.
//
// One line a check, `ok NAME` or `failed NAME: why`; the exit code is 0 if all are ok. The server is that of KUBECONFIG.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// No check takes longer.
const deadline = 60 * time.Second

// env is what checks work with.
type env struct {
	config    *rest.Config
	typed     kubernetes.Interface
	dynamic   dynamic.Interface
	namespace string
}

type check struct {
	name string
	run  func(context.Context, *env) error
}

var checks = []check{
	{"discovery", discovery},
	{"rest-mapper", restMapper},
	{"create-get-update-delete", lifecycle},
	{"conflict", conflict},
	{"patches", patches},
	{"status", status},
	{"delete-collection", deleteCollection},
	{"errors", errorKinds},
	{"server-side-apply", serverSideApply},
	{"apply-conflict", applyConflict},
	{"extract-and-apply", extractAndApply},
	{"dynamic", dynamicClient},
	{"custom-resources", customResources},
	{"metadata", metadataClient},
	{"pager", pages},
	{"watch", plainWatch},
	{"watch-list", watchList},
	{"expired-version", expiredVersion},
	{"informers", informers},
	{"work-queue", workQueue},
	{"leader-election", leaderElection},
	{"token-request", tokenRequest},
	{"access-review", accessReview},
	{"scale", scale},
	{"events", events},
}

func main() {
	json := flag.Bool("json", false, "speak JSON instead of what the library prefers")
	only := flag.String("only", "", "run one check")
	flag.Parse()
	failed, err := run(*json, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func run(json bool, only string) (int, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return 0, fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 500, 1000
	if json {
		config.ContentType = "application/json"
		config.AcceptContentTypes = "application/json"
	}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return 0, err
	}
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return 0, err
	}
	ctx := context.Background()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "client-"}}
	namespace, err = typed.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil {
		return 0, fmt.Errorf("create a namespace: %w", err)
	}
	defer func() {
		_ = typed.CoreV1().Namespaces().Delete(ctx, namespace.Name, metav1.DeleteOptions{})
	}()
	e := &env{config: config, typed: typed, dynamic: untyped, namespace: namespace.Name}
	failed := 0
	for _, one := range checks {
		if only != "" && only != one.name {
			continue
		}
		if err := bounded(ctx, e, one); err != nil {
			failed++
			fmt.Printf("failed %s: %v\n", one.name, err)
		} else {
			fmt.Printf("ok %s\n", one.name)
		}
	}
	return failed, nil
}

func bounded(ctx context.Context, e *env, one check) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	return one.run(ctx, e)
}

// until waits for what comes by itself.
func until(ctx context.Context, what string, holds func() (bool, error)) error {
	for {
		ok, err := holds()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not come in time", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// expect is nil if both are the same.
func expect[T comparable](what string, got, want T) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%s is %v, not %v", what, got, want)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
