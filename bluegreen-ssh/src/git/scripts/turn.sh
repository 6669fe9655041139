# Asks for a turn: BASE. Reply: `turn <number>`; or, where nothing was set up, `absent` or `taken <web root>`.
if place "$1" && [ -d "$repository" ]; then
    reply "turn $(turn)"
fi
look
! is_foreign || reply "taken $web"
reply absent
