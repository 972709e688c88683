"""Why a classifier gave its answer, seen from outside: any engine, any model, no gradients."""
