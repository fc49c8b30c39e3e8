<?php

/** Handles one event of the feed. Once or twice, before or after an older one: it ends the same. */
function handleEvent(PDO $db, array $event): void
{
    if ($event['type'] === 'user.merged') {
        claimRows($db, $event['data']['to'], $event['data']['aliases']);
    }
}
