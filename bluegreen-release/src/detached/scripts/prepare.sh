# Stores the environment of a version: BASE SLOT VERSION SIZE. Standard input: the environment, of SIZE bytes. Reply: `ready`.
store_environment "$@"
reply ready
