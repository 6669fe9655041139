# Sends a commit to a server's repository, under a name at which nothing is deployed: REPOSITORY URL COMMIT.
#
# Neither the hooks here nor settings of remotes take part. A URL that git would send elsewhere is refused.
cd -- "$1" || fail "there is no $1"
ssh_command=$GIT_SSH_COMMAND
# shellcheck disable=SC2046 # split into words on purpose
unset $(git rev-parse --local-env-vars) GIT_SSH SSH_ASKPASS GIT_ASKPASS
export GIT_SSH_COMMAND="$ssh_command" GIT_SSH_VARIANT=ssh GIT_TERMINAL_PROMPT=0 SSH_ASKPASS_REQUIRE=never SHELL=/bin/sh
git config --get-regexp '^url\..*\.(push)?insteadof$' | while read -r key prefix; do
    case $2 in "$prefix"*) echo "$key would send it elsewhere than to $2" && exit 1 ;; esac
done >&2 || exit 1
git -c core.hooksPath=/dev/null -c core.askPass= -c push.recurseSubmodules=no push --no-verify --no-follow-tags \
    --no-signed --quiet -- "$2" "$3:refs/bluegreen/$3" >&2 || exit 1
reply pushed
