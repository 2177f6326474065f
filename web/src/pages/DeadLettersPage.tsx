import { Page } from '../components/Page';

export default function DeadLettersPage() {
  return <Page title="DeadLetters">{null}</Page>;
}
